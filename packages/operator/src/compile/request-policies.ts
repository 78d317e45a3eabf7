// SPDX-License-Identifier: Apache-2.0
// PURE: rules for requests (AccessPolicy rules[].http). The kernel does not read requests, so for it such a rule is about
// connections that a proxy makes: these carry the caller's number with judgedBit (contract). It is allowed only there, and
// denied everywhere else. The proxy gets all that policies say about the called, and decides alone what it lets through.
import {
  Action,
  type HttpCondition,
  judgedBit,
  type Identity,
  type JwtProvider,
  type L7Policy,
  type L7PolicyRule,
  Protocol,
  withoutJudged,
} from '@pillion/contract'
import type { AccessHttp, JwtProviderSpec } from '../api/access-http.ts'
import type { Condition } from './condition.ts'
import type { Draft, DraftPort, DraftRule, World } from './policy-drafts.ts'

/** The world with a second number for every caller that a rule for requests is about; the same one where there is none. */
export function withJudged(world: World, drafts: readonly Draft[]): World {
  const callers = new Set(
    drafts.flatMap(({ rules }) =>
      rules.flatMap(({ http, peers }) => (http.length > 0 ? peers : [])),
    ),
  )
  if (callers.size === 0) return world
  const twins = world.identities
    .filter(({ id }) => callers.has(id))
    .map((identity): Identity => ({ ...identity, id: identity.id + judgedBit }))
  return {
    ...world,
    identities: [...world.identities, ...twins],
    blocksOf: (identity) => world.blocksOf(withoutJudged(identity)),
  }
}

/** Whom the kernel is told of: a permission for requests is of judged connections, a denial of all others. */
export function kernelPeers(
  { action }: Draft,
  { http, peers }: DraftRule,
): readonly number[] {
  if (http.length === 0) return peers
  const isJudged = (peer: number): boolean => peer >= judgedBit
  return peers.filter((peer) => isJudged(peer) === (action === Action.ALLOW))
}

/** By decimal identity: of all that some rule for requests is about. `numbers`: of a named TCP port of an identity. */
export function requestPolicies(
  drafts: readonly Draft[],
  numbers: (identity: number, name: string) => readonly number[],
): Map<string, L7Policy> {
  const ingress = drafts.filter(({ direction }) => direction === 'ingress')
  const subjects = new Set(
    ingress.filter(isAboutRequests).flatMap((draft) => draft.subjects),
  )
  return new Map(
    [...subjects]
      .filter((identity) => identity < judgedBit)
      .sort((a, b) => a - b)
      .map((identity) => {
        const about = ingress.filter(({ subjects }) => subjects.includes(identity))
        return [String(identity), policyOf(identity, about, numbers)]
      }),
  )
}

/** Where rules ask for tokens that nobody issues. */
export function withoutIssuer({ jwt, rules, action }: Draft): Condition | undefined {
  const index = rules.findIndex(({ http }) => http.some(needsToken))
  if (jwt.length > 0 || index < 0) return undefined
  const effect =
    action === Action.ALLOW ? 'allow nothing' : 'refuse without looking at tokens'
  return {
    type: 'PartiallyInvalid',
    status: 'True',
    reason: 'NoTokenIssuer',
    message: `rules[${index}].http: claims or token, and spec.jwt names no issuer: such conditions ${effect}`,
  }
}

/** Where a policy with rules for requests is about pods that no declared service leads to. */
export function notDeclared(
  draft: Draft,
  declared: ReadonlySet<number>,
): Condition | undefined {
  const missing = draft.subjects.filter((id) => id < judgedBit && !declared.has(id))
  if (missing.length === 0) return undefined
  const which =
    missing.length === draft.subjects.filter((id) => id < judgedBit).length
      ? 'no pod that it is about is'
      : 'some pods that it is about are not'
  const effect =
    draft.action === Action.ALLOW
      ? 'its rules with http allow nothing there'
      : 'its rules with http refuse whole connections there'
  return {
    type: 'PartiallyInvalid',
    status: 'True',
    reason: 'NotDeclaredL7',
    message: `rules[].http: ${which} behind a Service that an L7Service or a route declares: ${effect}`,
  }
}

export function isAboutRequests({ rules }: Draft): boolean {
  return rules.some(({ http }) => http.length > 0)
}

function policyOf(
  identity: number,
  drafts: readonly Draft[],
  numbers: (identity: number, name: string) => readonly number[],
): L7Policy {
  const providers: JwtProvider[] = []
  const rules: L7PolicyRule[] = []
  for (const draft of drafts) {
    const first = providers.length
    providers.push(...draft.jwt.map(providerOf))
    const indexes = draft.jwt.map((_, i) => first + i)
    for (const rule of draft.rules) {
      const ports = portsOf(rule.ports, (name) => numbers(identity, name))
      if (ports === undefined) continue
      const http = believable(draft, rule)
      // Nothing is left of what it would allow, and no condition at all would be everything.
      if (http.length === 0 && rule.http.length > 0) continue
      rules.push({
        text: rule.text,
        deny: draft.action === Action.DENY,
        shadow: draft.isShadow,
        peers: rule.peers.filter((peer) => peer < judgedBit),
        ports,
        http: http.map((each) => conditionOf(each, indexes)),
      })
    }
  }
  const isolating = (shadow: boolean): string =>
    drafts.find((each) => each.isolates && each.isShadow === shadow)?.text ?? ''
  return {
    identity,
    rules,
    isolation: isolating(false),
    shadowIsolation: isolating(true),
    providers,
  }
}

/** Without an issuer no token is valid: such conditions allow nothing, and a denial must not wait for a token. */
function believable({ action, jwt }: Draft, { http }: DraftRule): readonly AccessHttp[] {
  if (jwt.length > 0) return http
  if (action === Action.ALLOW) return http.filter((each) => !needsToken(each))
  return http.map((each) => ({ ...each, claims: [], token: false }))
}

function needsToken({ claims, token }: AccessHttp): boolean {
  return claims.length > 0 || token
}

/** Empty: every port. undefined: none that a request can come to. */
function portsOf(
  ports: readonly DraftPort[],
  numbers: (name: string) => readonly number[],
): L7PolicyRule['ports'] | undefined {
  if (ports.length === 0) return []
  const ranges = ports
    .filter(({ protocol }) => protocol === Protocol.TCP)
    .flatMap(({ port, endPort }) => {
      if (port === undefined) return [{ first: 0, last: 65_535 }]
      if (typeof port === 'number') return [{ first: port, last: endPort ?? port }]
      return numbers(port).map((number) => ({ first: number, last: number }))
    })
  return ranges.length === 0 ? undefined : ranges
}

function conditionOf(http: AccessHttp, providers: number[]): HttpCondition {
  const { methods, paths, headers, claims } = http
  return {
    methods,
    paths: paths.map(({ type, value }) => ({ value, prefix: type === 'PathPrefix' })),
    headers: headers.map(({ name, values }) => ({ name: name.toLowerCase(), values })),
    claims: claims.map(({ claim, values }) => ({ path: claim, values })),
    providers: needsToken(http) ? providers : [],
  }
}

function providerOf(spec: JwtProviderSpec): JwtProvider {
  const { issuer, audiences, algorithms, clockSkew, jwks } = spec
  return {
    ...{ issuer, audiences, algorithms: [...algorithms] },
    clockSkewSeconds: Math.round(clockSkew / 1000),
    keys:
      jwks.inline !== undefined
        ? { $case: 'inline', value: jwks.inline }
        : jwks.uri !== undefined
          ? { $case: 'uri', value: jwks.uri }
          : { $case: 'file', value: jwks.file ?? '' },
  }
}
