// SPDX-License-Identifier: Apache-2.0
// pillion status: is the mesh there, is the configuration in force, who rides where.
import { acknowledgements } from '@pillion/lab'
import type { Command } from 'commander'
import { clusterOptions, namespaceOption } from '../cluster/connect.ts'
import { until } from '../cluster/objects.ts'
import { problemsOf, type Problem } from '../conditions.ts'
import { failureName, l7Name } from '../config-rows.ts'
import { CliError, exitCode } from '../errors.ts'
import { meshLines, type MeshLine } from '../mesh-lines.ts'
import {
  formatOption,
  mark,
  print,
  printJson,
  Steps,
  table,
  type Format,
} from '../output.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'
import { examples, seconds } from './options.ts'

interface NodeRow {
  readonly node: string
  readonly agent: string
  readonly proxy: string
  /** Versions of the configuration that they hold. */
  readonly agentConfiguration: string
  readonly proxyConfiguration: string
  readonly agentSoftware: string
  readonly proxySoftware: string
  readonly upToDate: boolean
  readonly error?: string
}

interface ServiceRow {
  readonly service: string
  readonly carriedBy: 'kernel' | 'proxy'
  readonly protocol: string
  readonly failureMode: string
}

interface Status {
  readonly version: number
  /** Every node has the configuration, and its processes are ready. */
  readonly ready: boolean
  readonly nodes: readonly NodeRow[]
  /** What the Mesh says of itself: where a roll-out stands or halted, what is not well. */
  readonly mesh: readonly MeshLine[]
  /** Objects that are not in force as they are written. */
  readonly problems: readonly Problem[]
}

/** Objects that the table names; JSON has all. */
const maxProblems = 20

interface Flags extends TargetFlags {
  readonly wait?: boolean
  readonly timeout: number
  readonly output: Format
}

export function statusCommand(program: Command): void {
  const command = program
    .command('status')
    .option('--wait', 'until the configuration is in force on every node')
    .option('--timeout <seconds>', 'how long to wait', seconds, 120)
    .description('nodes, their configuration, and which services ride in the kernel')
    .action((flags: Flags) => withTarget(flags, (target) => show(target, flags)))
  formatOption(namespaceOption(clusterOptions(command)))
  examples(command, 'pillion status --wait --timeout 300')
}

async function show(
  target: Target,
  { wait = false, timeout, output }: Flags,
): Promise<void> {
  const status = wait ? await waitFor(target, timeout * 1000) : await statusOf(target)
  const { version, ready, nodes, mesh, problems } = status
  const services = await serviceRows(target, nodes[0]?.node)
  if (!ready) process.exitCode = exitCode.failed
  if (output === 'json') {
    const { name } = target
    printJson({ target: name, version, ready, mesh, nodes, services, problems })
    return
  }
  print(
    `${target.name}: configuration ${version}: ${mark(ready ? 'in force on every node' : 'not in force everywhere', ready)}`,
  )
  for (const { text, isGood } of mesh) print(mark(text, isGood))
  print('')
  print(
    table(
      ['NODE', 'AGENT', 'PROXY', 'SOFTWARE', 'CONFIGURATION', ''],
      nodes.map((row) => [
        row.node,
        mark(row.agent, row.agent === 'ready'),
        mark(row.proxy, row.proxy === 'ready'),
        same(row.agentSoftware, row.proxySoftware),
        same(row.agentConfiguration, row.proxyConfiguration),
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
  printProblems(problems)
}

function printProblems(problems: readonly Problem[]): void {
  if (problems.length === 0) return
  print(`\n${mark('not in force as written:', false)}`)
  for (const { object, message } of problems.slice(0, maxProblems))
    print(`  ${object}: ${message}`)
  const more = problems.length - maxProblems
  if (more > 0) print(`  and ${more} more (-o json)`)
}

/** What agent and proxy have in common, else both. */
function same(agent: string, proxy: string): string {
  return agent === proxy ? agent : `agent ${agent}, proxy ${proxy}`
}

async function statusOf(target: Target): Promise<Status> {
  const names = await target.nodes()
  const status = await target.operatorStatus()
  const acks = acknowledgements(status, names)
  const nodes = await Promise.all(
    names.map(async (node): Promise<NodeRow> => {
      const ack = acks.find((candidate) => candidate.node === node)
      const error = ack?.problems[0]
      const softwareOf = (role: string): string =>
        status.nodes.find((one) => one.node === node && one.role === role)
          ?.softwareVersion ?? '-'
      return {
        node,
        agent: await target.readiness(node, 'agent'),
        proxy: await target.readiness(node, 'proxy'),
        agentConfiguration: String(ack?.agentVersion ?? '-'),
        proxyConfiguration: String(ack?.proxyVersion ?? '-'),
        agentSoftware: softwareOf('agent'),
        proxySoftware: softwareOf('proxy'),
        upToDate: ack !== undefined && error === undefined,
        ...(error === undefined ? {} : { error }),
      }
    }),
  )
  const ready =
    nodes.length > 0 &&
    nodes.every((row) => row.upToDate && row.agent === 'ready' && row.proxy === 'ready')
  const mesh = meshLines(await target.mesh())
  // What the Mesh says of itself stands above.
  const others = status.objects?.filter(({ kind }) => kind !== 'Mesh')
  const problems = problemsOf(others ?? [])
  return { version: status.version, ready, nodes, mesh, problems }
}

/** Waits until `ready`. Throws a CliError `timeout` that names what is not. */
async function waitFor(target: Target, timeoutMs: number): Promise<Status> {
  const steps = new Steps()
  let text = 'nothing is known yet'
  try {
    const status = await until(
      timeoutMs,
      async () => {
        // A replica of the operator or an agent that starts just now does not answer: one more reason to wait.
        const found = await statusOf(target).catch((error: unknown) => {
          if (!(error instanceof CliError)) throw error
          text = error.message
          return undefined
        })
        if (found !== undefined) text = lacking(found)
        steps.at('status', text)
        return found?.ready === true ? found : undefined
      },
      () => text,
    )
    steps.done()
    return status
  } catch (error) {
    steps.fail()
    throw error
  }
}

function lacking({ nodes, mesh }: Status): string {
  const halted = mesh.find(({ text }) => text.includes('(Halted)'))
  if (halted !== undefined) return halted.text
  if (nodes.length === 0) return 'no node runs the mesh'
  const found = nodes.flatMap(({ node, agent, proxy, error }) => {
    if (agent !== 'ready') return [`${node}: agent ${agent}`]
    if (proxy !== 'ready') return [`${node}: proxy ${proxy}`]
    return error === undefined ? [] : [error]
  })
  const more = found.length > 3 ? `; and ${found.length - 3} more` : ''
  return `${nodes.length - found.length} of ${nodes.length} nodes; ${found.slice(0, 3).join('; ')}${more}`
}

/** What the operator's GET /debug/config says of services; enums are the contract's numbers. */
interface OperatorConfig {
  readonly resources: {
    readonly servicePort: Readonly<
      Record<string, { readonly l7Protocol: number; readonly failureMode: number }>
    >
  }
}

async function serviceRows(
  target: Target,
  node: string | undefined,
): Promise<ServiceRow[]> {
  if (node === undefined) return []
  const query = new URLSearchParams({ node, role: 'agent' })
  const { resources } = await target.operator<OperatorConfig>(
    `/debug/config?${query.toString()}`,
  )
  const known = await target.services()
  return Object.entries(resources.servicePort)
    .filter(([name]) => known.has(name.replace(/:\d+\/.*$/, '')))
    .map(([service, port]): ServiceRow => {
      const protocol = l7Name(port.l7Protocol)
      return {
        service,
        carriedBy: protocol === undefined ? 'kernel' : 'proxy',
        protocol: protocol ?? '-',
        failureMode: protocol === undefined ? '-' : failureName(port.failureMode),
      }
    })
    .toSorted((a, b) => a.service.localeCompare(b.service))
}
