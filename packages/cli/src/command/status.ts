// SPDX-License-Identifier: Apache-2.0
// pillion status: is the mesh there, is the configuration in force, who rides where.
import { acknowledgements, type KubeObject, type OperatorStatus } from '@pillion/lab'
import type { Command } from 'commander'
import { agent, lab, meshStatus, operator, readiness } from '../client.ts'
import { mark, print, printJson, table } from '../output.ts'

interface NodeRow {
  readonly node: string
  readonly agent: string
  readonly proxy: string
  readonly agentVersion: string
  readonly proxyVersion: string
  readonly upToDate: boolean
  readonly error?: string
}

interface ServiceRow {
  readonly service: string
  readonly carriedBy: 'kernel' | 'proxy'
  readonly protocol: string
  readonly failureMode: string
}

export function statusCommand(program: Command): void {
  program
    .command('status')
    .option('-o, --output <format>', 'table or json', 'table')
    .description('nodes, their configuration, and which services ride in the kernel')
    .action(show)
}

async function show({ output }: { output: 'table' | 'json' }): Promise<void> {
  const { nodes: known } = await meshStatus()
  const names = known.map(({ name }) => name)
  const status = await operator<OperatorStatus>('/debug/status')
  const acks = acknowledgements(status, names)
  const nodes = await Promise.all(
    names.map(async (node): Promise<NodeRow> => {
      const ack = acks.find((candidate) => candidate.node === node)
      const error = ack?.problems[0]
      return {
        node,
        agent: await readiness(node, 'agent'),
        proxy: await readiness(node, 'proxy'),
        agentVersion: String(ack?.agentVersion ?? '-'),
        proxyVersion: String(ack?.proxyVersion ?? '-'),
        upToDate: ack !== undefined && error === undefined,
        ...(error === undefined ? {} : { error }),
      }
    }),
  )
  const services = await serviceRows(names[0] ?? '')
  const { version } = status
  const good = nodes.every(
    (row) => row.upToDate && row.agent === 'ready' && row.proxy === 'ready',
  )
  if (!good) process.exitCode = 1
  if (output === 'json') {
    printJson({ version, ready: good, nodes, services })
    return
  }
  print(
    `configuration ${version}: ${mark(good ? 'in force on every node' : 'not in force everywhere', good)}\n`,
  )
  print(
    table(
      ['NODE', 'AGENT', 'PROXY', 'AGENT-VERSION', 'PROXY-VERSION', 'CONFIGURATION'],
      nodes.map((row) => [
        row.node,
        mark(row.agent, row.agent === 'ready'),
        mark(row.proxy, row.proxy === 'ready'),
        row.agentVersion,
        row.proxyVersion,
        row.upToDate ? 'up to date' : (row.error ?? 'not known to the operator'),
      ]),
    ),
  )
  print('')
  print(
    table(
      ['SERVICE', 'CARRIED-BY', 'PROTOCOL', 'FAILURE-MODE'],
      services.map((row) => [
        row.service,
        row.carriedBy === 'kernel' ? 'kernel (gear 0)' : 'L7 proxy (gear 3)',
        row.protocol,
        row.failureMode,
      ]),
    ),
  )
}

/** What an agent's GET /debug/config says of services; enums are the contract's numbers. */
interface AgentConfig {
  readonly resources: {
    readonly servicePort: Readonly<
      Record<string, { readonly l7Protocol: number; readonly failureMode: number }>
    >
  }
}

const l7Names: Readonly<Record<number, string>> = { 1: 'http', 2: 'http2', 3: 'grpc' }
const failureNames: Readonly<Record<number, string>> = { 1: 'Bypass', 2: 'Reject' }

async function serviceRows(node: string): Promise<ServiceRow[]> {
  const { resources } = await agent<AgentConfig>(node, '/debug/config')
  const ports = resources.servicePort
  const services = await lab<KubeObject[]>('GET', '/objects?kind=Service')
  const known = new Set(
    services.map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`),
  )
  return Object.entries(ports)
    .filter(([name]) => known.has(name.replace(/:\d+\/.*$/, '')))
    .map(([service, port]): ServiceRow => {
      const protocol = l7Names[port.l7Protocol]
      return {
        service,
        carriedBy: protocol === undefined ? 'kernel' : 'proxy',
        protocol: protocol ?? '-',
        failureMode:
          protocol === undefined ? '-' : (failureNames[port.failureMode] ?? '-'),
      }
    })
    .toSorted((a, b) => a.service.localeCompare(b.service))
}
