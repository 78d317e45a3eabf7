// SPDX-License-Identifier: Apache-2.0
// pillion policy shadow [NAME]: what policies in Shadow mode would have denied, on all nodes together.
import type { Command } from 'commander'
import { colors } from '../colors.ts'
import { clusterOptions, defaultNamespace } from '../cluster/connect.ts'
import { CliError, exitCode, explainError } from '../errors.ts'
import { age, formatOption, print, printJson, type Format } from '../output.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'
import { examples } from './options.ts'

interface End {
  readonly identity: number
  /** Empty: the node does not know it. */
  readonly workload: string
  readonly name: string
}

/** What a rule would have denied, as an agent's /debug/shadow has it. */
export interface ShadowRow {
  readonly rule: string
  readonly direction: 'ingress' | 'egress'
  readonly source: End
  readonly destination: End
  readonly port: number
  readonly protocol: string
  readonly count: number
  /** RFC 3339. */
  readonly lastTime: string
}

/** A policy in Shadow mode. */
export interface ShadowPolicy {
  /** "AccessPolicy shop/api". */
  readonly policy: string
  readonly rows: readonly ShadowRow[]
}

interface Flags extends Omit<TargetFlags, 'namespace'> {
  readonly namespace?: string
  readonly meshNamespace: string
  readonly output: Format
}

/** Nodes that are asked at the same time: in a cluster each question is a process beside the agent. */
const atOnce = 16
/** Workloads of one identity that are named. */
const maxNames = 3

export function policyCommand(program: Command): void {
  const policy = program.command('policy').description('policies that are only watched')
  const command = policy
    .command('shadow')
    .argument('[name]', 'name of an AccessPolicy or NetworkPolicy; all without it')
    .option('-n, --namespace <name>', 'namespace of the policies; all without it')
    .option('--mesh-namespace <name>', 'namespace of the installation', defaultNamespace)
    .description('what policies in Shadow mode would have denied, on all nodes')
    .action((name: string | undefined, flags: Flags) =>
      withTarget({ ...flags, namespace: flags.meshNamespace }, (target) =>
        show(target, name, flags),
      ),
    )
  formatOption(clusterOptions(command))
  examples(command, 'pillion policy shadow api -n shop')
}

async function show(
  target: Target,
  name: string | undefined,
  { namespace, output }: Flags,
): Promise<void> {
  const nodes = await target.nodes()
  if (nodes.length === 0) throw new CliError('failed', `${target.name} has no node`)
  const answers: (readonly ShadowPolicy[])[] = []
  const failed: unknown[] = []
  for (let i = 0; i < nodes.length; i += atOnce) {
    const asked = nodes
      .slice(i, i + atOnce)
      .map((node) =>
        target.agent<{ policies: readonly ShadowPolicy[] }>(node, '/debug/shadow'),
      )
    for (const result of await Promise.allSettled(asked))
      if (result.status === 'fulfilled') answers.push(result.value.policies)
      else failed.push(result.reason)
  }
  // One node that does not answer must not hide the others.
  if (failed.length === nodes.length) throw failed[0]
  if (failed.length > 0) process.exitCode = exitCode.failed
  for (const error of failed) process.stderr.write(`${explainError(error)}\n`)
  const all = mergeShadow(answers)
  const policies = all.filter(({ policy }) => isMeant(policy, name, namespace))
  if (name !== undefined && policies.length === 0) {
    const where = namespace === undefined ? '' : ` of namespace ${namespace}`
    const have = all.map(({ policy }) => policy).join(', ') || 'none'
    const message = `no policy "${name}"${where} is in Shadow mode; in Shadow mode: ${have}`
    throw new CliError('failed', message)
  }
  if (output === 'json') printJson({ policies })
  else print(shadowText(policies, Date.now()))
}

function isMeant(policy: string, name?: string, namespace?: string): boolean {
  const [ofNamespace, ofName] = policy.replace(/^\S+ /, '').split('/')
  return (namespace ?? ofNamespace) === ofNamespace && (name ?? ofName) === ofName
}

/** One list of the answers of all nodes: each connection was counted on one of them. Pure. */
export function mergeShadow(
  answers: readonly (readonly ShadowPolicy[])[],
): ShadowPolicy[] {
  const policies = new Map<string, Map<string, ShadowRow>>()
  for (const { policy, rows } of answers.flat()) {
    const merged = policies.get(policy) ?? new Map<string, ShadowRow>()
    policies.set(policy, merged)
    for (const row of rows) {
      const { rule, direction, source, destination, port, protocol } = row
      const ends = [source.identity, destination.identity]
      const key = JSON.stringify([rule, direction, ends, port, protocol])
      const known = merged.get(key)
      merged.set(key, known === undefined ? row : mergeRows(known, row))
    }
  }
  return [...policies]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([policy, rows]) => ({
      policy,
      rows: [...rows.values()].sort((a, b) => b.count - a.count),
    }))
}

function mergeRows(a: ShadowRow, b: ShadowRow): ShadowRow {
  return {
    ...a,
    source: mergeEnds(a.source, b.source),
    destination: mergeEnds(a.destination, b.destination),
    count: a.count + b.count,
    lastTime: a.lastTime > b.lastTime ? a.lastTime : b.lastTime,
  }
}

/** Only nodes that have to do with a workload know its name; workloads of the same labels are one identity. */
function mergeEnds(a: End, b: End): End {
  if (a.workload === '') return b
  const names = a.name.split(', ')
  if (b.workload === '' || names.includes(b.name) || names.length > maxNames) return a
  return { ...a, name: `${a.name}, ${names.length === maxNames ? '…' : b.name}` }
}

/** For people: a sentence a row, grouped by policy. Pure. */
export function shadowText(policies: readonly ShadowPolicy[], nowMs: number): string {
  if (policies.length === 0) return 'no policy is in Shadow mode'
  return policies
    .map(({ policy, rows }) =>
      rows.length === 0
        ? `${policy} would have denied nothing so far`
        : rows.map((row) => sentence(row, nowMs)).join('\n'),
    )
    .join('\n\n')
}

function sentence(row: ShadowRow, nowMs: number): string {
  const { rule, count, source, destination, port, protocol, lastTime } = row
  const unit = protocol === 'UDP' ? 'datagram' : 'connection'
  const what = `${count} ${unit}${count === 1 ? '' : 's'}`
  const ends = `from ${source.name} to ${destination.name} port ${port}/${protocol}`
  const last = age(lastTime, nowMs).replace(/(?=[a-z])/, ' ')
  return `${colors.bold(rule)} would have denied ${what} ${ends}, last ${last} ago`
}
