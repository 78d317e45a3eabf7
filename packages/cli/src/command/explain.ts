// SPDX-License-Identifier: Apache-2.0
// pillion explain FROM TO[:PORT]: what the kernel would do with this connection, and why.
import { LabError, type PodObject } from '@pillion/lab'
import type { Command } from 'commander'
import { colors } from '../colors.ts'
import { clusterOptions, namespaceOption } from '../cluster/connect.ts'
import { formatOption, mark, print, printJson, table, type Format } from '../output.ts'
import {
  canonical,
  findPodObject,
  named,
  namespaceOf,
  parsePeer,
  type Peer,
} from '../peers.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'
import { examples } from './options.ts'

/** The agent's GET /debug/explain. */
interface Explanation {
  readonly verdict: 'allow' | 'deny'
  readonly gear: number
  readonly steps: readonly { what: string; result: string }[]
  readonly rule?: string
  /** Allowed, but this rule of a policy in Shadow mode would deny it. */
  readonly shadow?: string
}

interface Flags extends TargetFlags {
  readonly output: Format
}

export function explainCommand(program: Command): void {
  const command = program
    .command('explain')
    .argument('<from>', 'namespace/pod, or the beginning of a pod name, or a pod address')
    .argument('<to>', 'namespace/service, namespace/pod or address; with :PORT')
    .description('what happens to a connection, and why')
    .action((from: string, to: string, flags: Flags) =>
      withTarget(flags, (target) => explain(target, from, to, flags.output)),
    )
  formatOption(namespaceOption(clusterOptions(command)))
  examples(command, 'pillion explain shop/web shop/cart:80')
}

async function explain(
  target: Target,
  from: string,
  to: string,
  output: Format,
): Promise<void> {
  const peer = parsePeer(to)
  const pod = findPodObject(await target.pods(namespaceOf(from)), from)
  if (pod === undefined) throw new LabError('not-found', `there is no pod ${named(from)}`)
  const { namespace = '', name } = pod.metadata
  const node = pod.spec.nodeName
  if (node === undefined)
    throw new LabError('host', `pod ${namespace}/${name} is on no node yet`)
  const asked = { from: `${namespace}/${name}`, to: await destination(target, peer) }
  const query = new URLSearchParams(asked)
  const path = `/debug/explain?${query.toString()}`
  const explanation = await target.agent<Explanation>(node, path)
  if (output === 'json') printJson({ node, ...asked, ...explanation })
  else printExplanation(explanation)
}

/** The destination as the agent knows it. */
async function destination(target: Target, peer: Peer): Promise<string> {
  const namespace = namespaceOf(peer.host)
  if (namespace === undefined) return canonical(peer, new Set(), [])
  const services = await target.services(namespace)
  const pods: PodObject[] = await target.pods(namespace)
  return canonical(peer, services, pods)
}

function printExplanation(explanation: Explanation): void {
  const { verdict, gear, steps, rule, shadow } = explanation
  print(
    table(
      ['STEP', 'RESULT'],
      steps.map(({ what, result }) => [what, result]),
    ),
  )
  const how = gear === 0 ? 'in the kernel (gear 0)' : `by the proxy (gear ${gear})`
  const allowed = verdict === 'allow'
  const text = allowed ? `allowed, carried ${how}` : 'denied at connect (EPERM)'
  print(`\n${mark(text, allowed)}`)
  if (rule !== undefined) print(colors.dim(`rule: ${rule}`))
  if (shadow !== undefined)
    print(colors.yellow(`would be denied by ${shadow}, which is in Shadow mode`))
}
