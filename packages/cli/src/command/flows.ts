// SPDX-License-Identifier: Apache-2.0
// pillion flows: connections as the kernel saw them, of all nodes.
import type { Command } from 'commander'
import { colors } from '../colors.ts'
import { clusterOptions, namespaceOption } from '../cluster/connect.ts'
import { CliError, exitCode, explainError } from '../errors.ts'
import { formatOption, print, type Format } from '../output.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'
import { checkNode } from './config.ts'
import { count, examples } from './options.ts'

/** A node that is asked for the past answers in this time. */
const answerMs = 15_000
/** Nodes at a time: each is a connection, and in a cluster a process beside the agent. */
const maxNodes = 50

interface End {
  readonly address: string
  readonly port: number
  readonly namespace?: string
  readonly pod?: string
}

/** One line of the agent's /debug/flows. */
interface Flow {
  readonly time: string
  readonly kind: 'open' | 'close' | 'deny' | 'shift'
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
  readonly nearest?: string
  /** A deny that did not happen. */
  readonly shadow?: boolean
  readonly l7?: boolean
  readonly accelerated?: boolean
  readonly shifted?: boolean
}

type NodeFlow = Flow & { readonly node: string }

interface Flags extends TargetFlags {
  readonly follow?: boolean
  readonly node?: readonly string[]
  readonly last?: number
  readonly output: Format
}

export function flowsCommand(program: Command): void {
  const command = program
    .command('flows')
    .option('-f, --follow', 'what happens from now on, until interrupted')
    .option('--node <name...>', `only these nodes; default all, up to ${maxNodes}`)
    .option(
      '--last <n>',
      'this many of the past of each node; default all, with -f none',
      count,
    )
    .description('connections: opened, closed, denied. JSON is one object a line')
    .action((flags: Flags) => withTarget(flags, (target) => show(target, flags)))
  formatOption(namespaceOption(clusterOptions(command)))
  examples(
    command,
    'pillion flows -f --node node-1',
    'pillion flows --last 100 -o json | jq \'select(.verdict == "deny")\'',
  )
}

async function show(target: Target, flags: Flags): Promise<void> {
  const { follow = false, last, output } = flags
  const query = new URLSearchParams({
    ...(follow ? { follow: '1' } : {}),
    ...(last === undefined ? {} : { last: String(last) }),
  })
  const path = `/debug/flows?${query.toString()}`
  const write = ({ node, ...flow }: NodeFlow): void =>
    print(output === 'json' ? JSON.stringify({ node, ...flow }) : flowLine(node, flow))
  const past: NodeFlow[] = []
  const take = (flow: NodeFlow): void => {
    if (follow) write(flow)
    else past.push(flow)
  }
  const nodes = await nodesOf(target, flags.node ?? [])
  const signal = stopSignal(follow)
  const asked = nodes.map((node) =>
    target.flows(
      node,
      path,
      (line) => take({ node, ...(JSON.parse(line) as Flow) }),
      signal,
    ),
  )
  const failed = (await Promise.allSettled(asked)).flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  )
  for (const flow of past.sort((a, b) => a.time.localeCompare(b.time))) write(flow)
  if (!follow && signal.aborted)
    throw new CliError('timeout', `not every node has answered in ${answerMs / 1000} s`)
  // One node that does not answer must not hide the others.
  if (failed.length === nodes.length) throw failed[0]
  if (failed.length > 0) process.exitCode = exitCode.failed
  for (const error of failed) process.stderr.write(`${explainError(error)}\n`)
}

/** Aborts when a follower is interrupted. What has an end is not waited for without end. */
function stopSignal(follow: boolean): AbortSignal {
  if (!follow) return AbortSignal.timeout(answerMs)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stop.abort())
  return stop.signal
}

async function nodesOf(target: Target, wanted: readonly string[]): Promise<string[]> {
  for (const node of wanted) await checkNode(target, node)
  const nodes = wanted.length > 0 ? [...new Set(wanted)] : await target.nodes()
  if (nodes.length === 0) throw new CliError('failed', `${target.name} has no node`)
  if (nodes.length <= maxNodes) return nodes
  const message = `${target.name} has ${nodes.length} nodes; name up to ${maxNodes} with --node`
  throw new CliError('usage', message)
}

/** One flow for people. */
export function flowLine(node: string, flow: Flow): string {
  const { shadow = false } = flow
  const deny = shadow ? colors.yellow('would deny') : colors.red('deny ')
  const kind = { open: colors.green('open '), close: 'close', deny, shift: 'shift' }[
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
  if (flow.nearest !== undefined) parts.push(`nearest: ${flow.nearest}`)
  if (flow.kind === 'close') {
    parts.push(`${flow.bytesSent ?? 0} B sent`, `${flow.bytesReceived ?? 0} B received`)
    if (flow.durationMs !== undefined) parts.push(`${flow.durationMs} ms`)
    if (flow.rttUs !== undefined && flow.rttUs > 0) parts.push(`rtt ${flow.rttUs} µs`)
    if (flow.retransmits !== undefined && flow.retransmits > 0) {
      parts.push(`${flow.retransmits} retransmits`)
    }
  }
  if (flow.kind === 'shift')
    parts.push(`a run goes on by TCP after ${flow.bytesSent ?? 0} B`)
  if (flow.l7 === true) parts.push('L7')
  if (flow.accelerated === true) parts.push('accelerated')
  if (flow.shifted === true) parts.push('a run by TCP')
  return parts.length === 0 ? '' : colors.dim(`  ${parts.join(', ')}`)
}
