// SPDX-License-Identifier: Apache-2.0
// pillion flows: connections as the kernel saw them, of all nodes.
import { LabError } from '@pillion/lab'
import type { Command } from 'commander'
import colors from 'picocolors'
import { flows, meshStatus } from '../client.ts'
import { print } from '../output.ts'

/** How long flows of the past are collected from a node that does not end its answer. */
const collectMs = 1000

interface End {
  readonly address: string
  readonly port: number
  readonly namespace?: string
  readonly pod?: string
}

/** One line of the agent's /debug/flows. */
interface Flow {
  readonly time: string
  readonly kind: 'open' | 'close' | 'deny'
  readonly src: End
  readonly dst: End
  readonly service?: string
  readonly protocol?: string
  readonly bytesSent?: number
  readonly bytesReceived?: number
  readonly durationMs?: number
  readonly rttUs?: number
  readonly retransmits?: number
  readonly rule?: string
  readonly l7?: boolean
  readonly accelerated?: boolean
}

interface Flags {
  follow?: boolean
  node?: string
  output: 'table' | 'json'
}

export function flowsCommand(program: Command): void {
  program
    .command('flows')
    .option('-f, --follow', 'go on until interrupted')
    .option('--node <name>', 'only this node')
    .option('-o, --output <format>', 'table, or json: one object a line', 'table')
    .description('connections: opened, closed, denied')
    .action(show)
}

async function show({ follow, node, output }: Flags): Promise<void> {
  const { nodes } = await meshStatus()
  const names = nodes
    .map(({ name }) => name)
    .filter((name) => node === undefined || name === node)
  if (names.length === 0)
    throw new LabError('not-found', `there is no node ${node ?? ''}`)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  process.once('SIGTERM', () => stop.abort())
  const signal =
    follow === true
      ? stop.signal
      : AbortSignal.any([stop.signal, AbortSignal.timeout(collectMs)])
  await Promise.all(
    names.map((name) =>
      flows(
        name,
        follow === true,
        (line) => {
          const flow = JSON.parse(line) as Flow
          print(
            output === 'json'
              ? JSON.stringify({ node: name, ...flow })
              : flowLine(name, flow),
          )
        },
        signal,
      ),
    ),
  )
}

/** One flow for people. */
export function flowLine(node: string, flow: Flow): string {
  const kind = { open: colors.green('open '), close: 'close', deny: colors.red('deny ') }[
    flow.kind
  ]
  const time = flow.time.replace(/^.*T/, '').replace(/Z$/, '')
  const service = flow.service === undefined ? '' : ` (${flow.service})`
  const ends = `${end(flow.src)} → ${end(flow.dst)}${service}`
  return `${time}  ${node}  ${kind}  ${flow.protocol ?? 'TCP'}  ${ends}${details(flow)}`
}

function end({ address, port, namespace, pod }: End): string {
  const named = pod !== undefined && pod !== ''
  const host = named
    ? `${namespace ?? ''}/${pod}`
    : address.includes(':')
      ? `[${address}]`
      : address
  // A connect that was refused never had a source port.
  return port === 0 ? host : `${host}:${port}`
}

function details(flow: Flow): string {
  const parts: string[] = []
  if (flow.kind === 'deny' && flow.rule !== undefined) parts.push(`rule: ${flow.rule}`)
  if (flow.kind === 'close') {
    parts.push(`${flow.bytesSent ?? 0} B sent`, `${flow.bytesReceived ?? 0} B received`)
    if (flow.durationMs !== undefined) parts.push(`${flow.durationMs} ms`)
    if (flow.rttUs !== undefined && flow.rttUs > 0) parts.push(`rtt ${flow.rttUs} µs`)
    if (flow.retransmits !== undefined && flow.retransmits > 0) {
      parts.push(`${flow.retransmits} retransmits`)
    }
  }
  if (flow.l7 === true) parts.push('L7')
  if (flow.accelerated === true) parts.push('accelerated')
  return parts.length === 0 ? '' : colors.dim(`  ${parts.join(', ')}`)
}
