// SPDX-License-Identifier: Apache-2.0
// PURE: L7Policy of the contract -> what `evaluateRequest` asks. Immutable; a new configuration is a new policy.
import type {
  HttpCondition,
  JwtProvider,
  L7Policy,
  L7PolicyRule,
} from '../gen/pillion/v1/access.ts'
import type { Resources } from '../resources.ts'

export type RequestRule = {
  readonly text: string
  readonly deny: boolean
  readonly shadow: boolean
  /** undefined: anybody. */
  readonly peers: ReadonlySet<number> | undefined
  readonly ports: readonly { readonly first: number; readonly last: number }[]
  /** Empty: every request. */
  readonly http: readonly RequestCondition[]
}

export type RequestCondition = {
  /** undefined: any. */
  readonly methods: ReadonlySet<string> | undefined
  readonly paths: HttpCondition['paths']
  readonly headers: readonly {
    readonly name: string
    readonly values: ReadonlySet<string> | undefined
  }[]
  readonly claims: readonly {
    readonly path: readonly string[]
    readonly values: ReadonlySet<string> | undefined
  }[]
  /** Empty: no token is needed. */
  readonly providers: ReadonlySet<JwtProvider>
}

/** Everything that policies say about who may call an identity. */
export type RequestPolicy = {
  readonly denials: readonly RequestRule[]
  readonly permissions: readonly RequestRule[]
  /** Text of the first policy that isolates; '': none does. */
  readonly isolation: string
  readonly shadowIsolation: string
  readonly providers: readonly JwtProvider[]
  /** Callers that a rule for requests is about: the kernel allows them more when a proxy judged (judgedBit). */
  readonly judged: ReadonlySet<number>
  /** True when some enforced rule asks for a token: an invalid one is refused then (RFC 6750). */
  readonly demandsToken: boolean
}

/** All of a configuration, by identity. Throws as `compileRequestPolicy` does. */
export function compileRequestPolicies(
  resources: Resources,
): ReadonlyMap<number, RequestPolicy> {
  const messages = [...resources.l7Policy.values()]
  return new Map(
    messages.map((message) => [message.identity, compileRequestPolicy(message)]),
  )
}

/** Throws a TypeError that names the rule when it cannot be expressed; the caller keeps its last good configuration. */
export function compileRequestPolicy(message: L7Policy): RequestPolicy {
  const rules = message.rules.map((rule) => compileRule(rule, message.providers))
  return {
    denials: rules.filter(({ deny }) => deny),
    permissions: rules.filter(({ deny }) => !deny),
    isolation: message.isolation,
    shadowIsolation: message.shadowIsolation,
    providers: message.providers,
    judged: new Set(
      message.rules.flatMap(({ http, peers }) => (http.length > 0 ? peers : [])),
    ),
    demandsToken: rules.some(
      ({ shadow, http }) => !shadow && http.some(({ providers }) => providers.size > 0),
    ),
  }
}

function compileRule(rule: L7PolicyRule, providers: readonly JwtProvider[]): RequestRule {
  return {
    text: rule.text,
    deny: rule.deny,
    shadow: rule.shadow,
    peers: rule.peers.includes(0) ? undefined : new Set(rule.peers),
    ports: rule.ports,
    http: rule.http.map((condition) => compileCondition(rule, condition, providers)),
  }
}

function compileCondition(
  rule: L7PolicyRule,
  condition: HttpCondition,
  providers: readonly JwtProvider[],
): RequestCondition {
  const { methods, paths, headers, claims } = condition
  const known = condition.providers.map((index) => {
    const provider = providers[index]
    if (provider === undefined)
      throw new TypeError(`${rule.text}: there is no token provider ${index}`)
    return provider
  })
  if (claims.length > 0 && known.length === 0)
    throw new TypeError(`${rule.text}: claims, but nobody whose tokens are believed`)
  return {
    methods: setOf(methods),
    paths,
    headers: headers.map(({ name, values }) => ({ name, values: setOf(values) })),
    claims: claims.map(({ path, values }) => ({ path, values: setOf(values) })),
    providers: new Set(known),
  }
}

function setOf(values: readonly string[]): ReadonlySet<string> | undefined {
  return values.length === 0 ? undefined : new Set(values)
}
