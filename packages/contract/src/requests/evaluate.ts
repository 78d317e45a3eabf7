// SPDX-License-Identifier: Apache-2.0
// PURE: may this request be sent to that endpoint? The proxy asks for each attempt, `pillion explain` for a request that is
// only described.
import type { JwtProvider } from '../gen/pillion/v1/access.ts'
import { withoutParameters, withoutQuery } from './path.ts'
import type { RequestCondition, RequestPolicy, RequestRule } from './policy.ts'

/** A request as it would be sent: after rewrites, its path in the form of `strictPath`. */
export type RequestQuestion = {
  /** Identity of the caller. */
  readonly caller: number
  /** Port of the endpoint. */
  readonly port: number
  readonly method: string
  readonly path: string
  readonly authority: string
  /** Name, value, name, value…, names in lower case, as the proxy has them. */
  readonly headers: readonly string[]
  /** A token that was verified; undefined: none came, or it is not valid. */
  readonly token: RequestToken | undefined
}

export type RequestToken = {
  readonly provider: JwtProvider
  readonly claims: Readonly<Record<string, unknown>>
}

export type RequestDecision = {
  readonly allowed: boolean
  /** The rule or policy that decided; '': no policy is about it. */
  readonly by: string
  /** A token could have helped: ask for one (401) rather than refuse (403). */
  readonly wantsToken: boolean
}

export type RequestDecisions = {
  readonly enforced: RequestDecision
  /** What would hold if policies in Shadow mode were enforced as well; undefined: none is about this identity. */
  readonly shadow: RequestDecision | undefined
}

/** A denial wins; then a permission is needed, if any policy isolates. */
export function evaluateRequest(
  policy: RequestPolicy,
  question: RequestQuestion,
): RequestDecisions {
  const hasShadow =
    policy.shadowIsolation !== '' ||
    policy.denials.some(({ shadow }) => shadow) ||
    policy.permissions.some(({ shadow }) => shadow)
  return {
    enforced: decide(policy, question, false),
    shadow: hasShadow ? decide(policy, question, true) : undefined,
  }
}

function decide(
  policy: RequestPolicy,
  question: RequestQuestion,
  withShadow: boolean,
): RequestDecision {
  const counts = (rule: RequestRule): boolean => withShadow || !rule.shadow
  for (const rule of policy.denials) {
    if (
      counts(rule) &&
      isAboutCaller(rule, question) &&
      holds(rule, question, 'deny') === 'yes'
    )
      return { allowed: false, by: rule.text, wantsToken: false }
  }
  const isolation =
    policy.isolation === '' && withShadow ? policy.shadowIsolation : policy.isolation
  if (isolation === '') return { allowed: true, by: '', wantsToken: false }
  let wantsToken = false
  for (const rule of policy.permissions) {
    if (!counts(rule) || !isAboutCaller(rule, question)) continue
    const answer = holds(rule, question, 'allow')
    if (answer === 'yes') return { allowed: true, by: rule.text, wantsToken: false }
    if (answer === 'with a token') wantsToken = true
  }
  return { allowed: false, by: isolation, wantsToken }
}

/** Whether a rule is about who asks, and about the port that is asked. */
export function isAboutCaller(
  rule: RequestRule,
  { caller, port }: Pick<RequestQuestion, 'caller' | 'port'>,
): boolean {
  return (
    (rule.peers === undefined || rule.peers.has(caller)) &&
    (rule.ports.length === 0 ||
      rule.ports.some(({ first, last }) => first <= port && port <= last))
  )
}

type Answer = 'yes' | 'no' | 'with a token'

function holds(
  rule: RequestRule,
  question: RequestQuestion,
  action: 'allow' | 'deny',
): Answer {
  if (rule.http.length === 0) return 'yes'
  let answer: Answer = 'no'
  for (const condition of rule.http) {
    if (!matchesRequest(condition, question, action)) continue
    if (condition.providers.size === 0) return 'yes'
    if (question.token === undefined) answer = 'with a token'
    else if (matchesToken(condition, question.token)) return 'yes'
  }
  return answer
}

function matchesRequest(
  { methods, paths, headers }: RequestCondition,
  question: RequestQuestion,
  action: 'allow' | 'deny',
): boolean {
  return (
    (methods === undefined || methods.has(question.method)) &&
    (paths.length === 0 || matchesPath(paths, question.path, action)) &&
    headers.every(({ name, values }) => {
      const sent = valuesOf(question, name, action)
      return sent.length > 0 && (values === undefined || sent.some((v) => values.has(v)))
    })
  )
}

/** A permission is about all values as one; a denial about each as well, or a second value would be the way around it. */
function valuesOf(
  { headers, authority }: RequestQuestion,
  name: string,
  action: 'allow' | 'deny',
): string[] {
  if (name === 'host') return [authority]
  const sent: string[] = []
  for (let i = 0; i < headers.length; i += 2)
    if (headers[i] === name) sent.push(headers[i + 1] ?? '')
  if (sent.length < 2) return sent
  const joined = sent.join(',') // one list (RFC 9110 5.3)
  return action === 'allow' ? [joined] : [joined, ...sent]
}

function matchesPath(
  paths: RequestCondition['paths'],
  target: string,
  action: 'allow' | 'deny',
): boolean {
  const path = withoutQuery(target)
  const matches = (text: string): boolean =>
    paths.some(({ value, prefix }) => (prefix ? isUnder(text, value) : text === value))
  // A server that does not count ";x" as path must not be a way around a denial.
  return matches(path) || (action === 'deny' && matches(withoutParameters(path)))
}

function isUnder(path: string, prefix: string): boolean {
  const bare = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  return path === bare || path.startsWith(`${bare}/`)
}

function matchesToken(
  { claims, providers }: RequestCondition,
  token: RequestToken,
): boolean {
  return (
    providers.has(token.provider) &&
    claims.every(({ path, values }) => {
      const value = claimAt(token.claims, path)
      if (value === undefined) return false
      return (
        values === undefined ||
        texts(value, path.join('.') === 'scope').some((text) => values.has(text))
      )
    })
  )
}

function claimAt(claims: unknown, path: readonly string[]): unknown {
  let value = claims
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name))
      return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

/** The values that a claim lists: its items, and the words of the scopes (RFC 8693 4.2). */
function texts(value: unknown, isScope: boolean): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => texts(item, false))
  if (typeof value === 'string') return isScope ? value.split(' ') : [value]
  return typeof value === 'number' || typeof value === 'boolean' ? [String(value)] : []
}
