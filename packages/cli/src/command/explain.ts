// SPDX-License-Identifier: Apache-2.0
// pillion explain FROM TO[:PORT]: what the kernel would do with this connection, and why.
import { compileRequestPolicy, type L7Policy } from '@pillion/contract'
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
import {
  answerTo,
  describedRequest,
  rulesFor,
  type Answer,
  type Described,
  type ListedRule,
} from '../requests.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'
import { sentTo } from './config.ts'
import { examples } from './options.ts'

/** The agent's GET /debug/explain. */
interface Explanation {
  readonly verdict: 'allow' | 'deny'
  readonly gear: number
  readonly steps: readonly { what: string; result: string }[]
  readonly rule?: string
  /** Allowed, but this rule of a policy in Shadow mode would deny it. */
  readonly shadow?: string
  /** Identity of the source. */
  readonly source: number
  readonly targets: readonly { identity: number; port: number }[]
}

/** What rules for requests say about one kind of endpoint. */
interface Requests {
  readonly identity: number
  readonly port: number
  /** Callers that the kernel allows more when a proxy judged. */
  readonly isJudged: boolean
  readonly rules: readonly ListedRule[]
  /** Of the request that was described. */
  readonly answer?: Answer
}

interface Flags extends TargetFlags {
  readonly output: Format
  readonly method?: string
  readonly path?: string
  readonly header?: readonly string[]
}

export function explainCommand(program: Command): void {
  const command = program
    .command('explain')
    .argument('<from>', 'namespace/pod, or the beginning of a pod name, or a pod address')
    .argument('<to>', 'namespace/service, namespace/pod or address; with :PORT')
    .option('--method <method>', 'of a request, for rules that are about requests')
    .option('--path <path>', 'of the request, as the endpoint sees it')
    .option('--header <header>', 'of the request, "Name: value"; again for more', collect)
    .description('what happens to a connection or a request, and why')
    .action((from: string, to: string, flags: Flags) =>
      withTarget(flags, (target) => explain(target, from, to, flags)),
    )
  formatOption(namespaceOption(clusterOptions(command)))
  examples(
    command,
    'pillion explain shop/web shop/cart:80',
    'pillion explain shop/web shop/cart:80 --method POST --path /items',
  )
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

async function explain(
  target: Target,
  from: string,
  to: string,
  flags: Flags,
): Promise<void> {
  const peer = parsePeer(to)
  const request = describedRequest(flags, peer.host.split('/').reverse().join('.'))
  const pod = findPodObject(await target.pods(namespaceOf(from)), from)
  if (pod === undefined) throw new LabError('not-found', `there is no pod ${named(from)}`)
  const { namespace = '', name } = pod.metadata
  const node = pod.spec.nodeName
  if (node === undefined)
    throw new LabError('host', `pod ${namespace}/${name} is on no node yet`)
  const asked = { from: `${namespace}/${name}`, to: await destination(target, peer) }
  const ask = (more: Readonly<Record<string, string>> = {}): Promise<Explanation> => {
    const query = new URLSearchParams({ ...asked, ...more })
    return target.agent(node, `/debug/explain?${query.toString()}`)
  }
  let explanation = await ask()
  const requests =
    explanation.gear === 0 ? [] : await requestsOf(target, node, explanation, request)
  // The proxy connects by another number where it judges, and the kernel allows that one more.
  const judged = requests.filter(({ isJudged }) => isJudged).map((each) => each.identity)
  if (judged.length > 0) explanation = await ask({ judged: judged.join() })
  if (flags.output === 'json') printJson({ node, ...asked, ...explanation, requests })
  else printAll(explanation, requests, request)
}

/** Rules for requests of each target that has any, as the operator has sent them to the proxy of the caller's node. */
async function requestsOf(
  target: Target,
  node: string,
  { source, targets }: Explanation,
  request: Described | undefined,
): Promise<Requests[]> {
  const { resources } = await sentTo(target, node, 'proxy')
  const policies = (resources['l7Policy'] ?? {}) as Readonly<Record<string, L7Policy>>
  return targets.flatMap(({ identity, port }) => {
    const message = policies[identity]
    if (message === undefined) return []
    const policy = compileRequestPolicy(message)
    const call = { caller: source, port }
    const isJudged = policy.judged.has(source)
    const known = { identity, port, isJudged, rules: rulesFor(policy, call) }
    if (request === undefined) return [known]
    return [{ ...known, answer: answerTo(policy, call, request) }]
  })
}

/** The destination as the agent knows it. */
async function destination(target: Target, peer: Peer): Promise<string> {
  const namespace = namespaceOf(peer.host)
  if (namespace === undefined) return canonical(peer, new Set(), [])
  const services = await target.services(namespace)
  const pods: PodObject[] = await target.pods(namespace)
  return canonical(peer, services, pods)
}

function printAll(
  explanation: Explanation,
  requests: readonly Requests[],
  request: Described | undefined,
): void {
  printExplanation(explanation)
  for (const each of requests) {
    const { identity, port, rules, answer } = each
    print(`\nrules for requests of identity ${identity}, port ${port}:`)
    if (rules.length === 0) print('none is about this caller')
    else print(table(['ACTION', 'REQUEST', 'RULE'], rules.flatMap(ruleRows)))
    if (answer !== undefined && request !== undefined) printAnswer(answer, request)
  }
  if (request === undefined || requests.length > 0) return
  print(colors.dim('no rule for requests is asked'))
}

function ruleRows({ action, shadow, requests, rule }: ListedRule): string[][] {
  const what = shadow ? `shadow ${action}` : action
  return requests.map((request) => [what, request, rule])
}

const reasons = {
  0: '',
  400: '400 PATH_AMBIGUOUS',
  401: '401 TOKEN_MISSING: with a valid token some rule may allow it',
  403: '403 REQUEST_DENIED',
} as const

function printAnswer({ status, allowed, by, shadow }: Answer, request: Described): void {
  const answer = allowed
    ? 'goes on to the endpoint'
    : `is answered with ${reasons[status]}`
  print(`\n${mark(`${request.method} ${request.path} ${answer}`, allowed)}`)
  print(colors.dim(`rule: ${by}`))
  if (shadow !== undefined)
    print(colors.yellow(`policies in Shadow mode would decide otherwise, by ${shadow}`))
}

function printExplanation(explanation: Explanation): void {
  const { verdict, gear, steps, rule, shadow, targets } = explanation
  print(
    table(
      ['STEP', 'RESULT'],
      steps.map(({ what, result }) => [what, result]),
    ),
  )
  const how = gear === 0 ? 'in the kernel (gear 0)' : `by the proxy (gear ${gear})`
  const allowed = verdict === 'allow'
  const denied = {
    kernel: 'denied at connect (EPERM)',
    proxy: 'denied: the proxy answers 403',
    nobody: 'refused: nobody is there to answer',
  }[gear === 0 ? 'kernel' : targets.length > 0 ? 'proxy' : 'nobody']
  const text = allowed ? `allowed, carried ${how}` : denied
  print(`\n${mark(text, allowed)}`)
  if (rule !== undefined) print(colors.dim(`rule: ${rule}`))
  if (shadow !== undefined)
    print(colors.yellow(`would be denied by ${shadow}, which is in Shadow mode`))
}
