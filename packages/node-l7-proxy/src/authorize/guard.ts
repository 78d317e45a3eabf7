// SPDX-License-Identifier: Apache-2.0
// Asks policy before a request leaves, for endpoints that rules for requests are about. The kernel asks again when the
// connection is made: the number that it carries then (judgedBit) is what such rules allow.
import {
  evaluateRequest,
  judgedBit,
  normalisePath,
  type RequestDecisions,
  type RequestPolicy,
  strictPath,
} from '@pillion/contract'
import type { Endpoint } from '../cluster/endpoint.ts'
import type { Service } from '../config/config.ts'
import type { ProxyErrorCode } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { bearerOf, type Verdict, type Verifier } from './verifier.ts'

/** Policies by the identity that they protect. */
export type Policies = ReadonlyMap<number, RequestPolicy>

/** Whoever ends an exchange with an error. */
export type Refuser = { refuse(exchange: Exchange, code: ProxyErrorCode): void }

export class Guard {
  readonly #verifier: Verifier
  readonly #metrics: Metrics
  readonly #refuser: Refuser
  readonly #guarded: WeakMap<Service, { readonly by: Policies; readonly is: boolean }> =
    new WeakMap()

  constructor(verifier: Verifier, metrics: Metrics, refuser: Refuser) {
    this.#verifier = verifier
    this.#metrics = metrics
    this.#refuser = refuser
  }

  /**
   * Gives the path its one spelling. Where a rule for requests is about an endpoint of the service, a path that servers
   * read in more than one way is refused: false then.
   */
  readPath(policies: Policies, service: Service, exchange: Exchange): boolean {
    const { message } = exchange
    if (!this.#isGuarded(policies, service)) message.path = normalisePath(message.path)
    else return this.#readStrictly(exchange)
    return true
  }

  /**
   * The identity that the request goes to `endpoint` with. Undefined: it was refused, or its token is being verified, and
   * `again` is called when that is known.
   */
  admit(
    policies: Policies,
    exchange: Exchange,
    endpoint: Endpoint,
    again: () => void,
  ): number | undefined {
    const { identity } = exchange.connection.client
    const policy = policies.get(endpoint.identity)
    if (policy === undefined) return identity
    const verdict = this.#token(policy, exchange, again)
    if (verdict === undefined) return undefined
    if (verdict.kind === 'invalid' && policy.demandsToken) {
      exchange.why = `its token is not valid: ${verdict.why}`
      exchange.challenge = 'Bearer error="invalid_token"'
      return this.#deny(exchange, 'TOKEN_INVALID')
    }
    // Once more: filters may have rewritten it. The endpoint is asked for exactly what is decided about.
    if (!this.#readStrictly(exchange)) return undefined
    const { message } = exchange
    const decisions = evaluateRequest(policy, {
      caller: identity,
      port: endpoint.port,
      method: message.method,
      path: message.path,
      authority: message.authority,
      headers: message.headers,
      token: verdict.kind === 'valid' ? verdict.token : undefined,
    })
    const carried = policy.judged.has(identity) ? identity + judgedBit : identity
    return this.#enforce(exchange, decisions, carried)
  }

  #isGuarded(policies: Policies, service: Service): boolean {
    if (policies.size === 0) return false
    const known = this.#guarded.get(service)
    if (known?.by === policies) return known.is
    const is = service.ready.some(({ identity }) => policies.has(identity))
    this.#guarded.set(service, { by: policies, is })
    return is
  }

  #readStrictly(exchange: Exchange): boolean {
    const strict = strictPath(exchange.message.path)
    if ('path' in strict) {
      exchange.message.path = strict.path
      return true
    }
    exchange.why = strict.problem
    this.#deny(exchange, 'PATH_AMBIGUOUS')
    return false
  }

  #token(
    policy: RequestPolicy,
    exchange: Exchange,
    again: () => void,
  ): Verdict | undefined {
    const { providers } = policy
    if (providers.length === 0) return { kind: 'none' }
    const bearer = bearerOf(exchange.message.headers)
    const last = exchange.verdict
    if (last?.providers === providers && last.bearer === bearer) return last.verdict
    const known = this.#verifier.known(providers, bearer)
    if (known !== undefined || bearer === undefined) return known
    this.#metrics.gauges.verifyingTokens++
    void this.#verifier.verify(providers, bearer).then((verdict) => {
      this.#metrics.gauges.verifyingTokens--
      exchange.verdict = { providers, bearer, verdict }
      if (!exchange.done) again()
    })
    return undefined
  }

  #enforce(
    exchange: Exchange,
    { enforced, shadow }: RequestDecisions,
    identity: number,
  ): number | undefined {
    const { counters } = this.#metrics
    if (shadow !== undefined && shadow.allowed !== enforced.allowed) {
      exchange.shadow = shadow.by
      if (enforced.allowed) counters.shadowDenied++
      else counters.shadowAllowed++
    }
    if (enforced.allowed) {
      counters.requestsAllowed++
      return identity
    }
    exchange.why = enforced.by
    if (enforced.wantsToken) {
      exchange.challenge = 'Bearer'
      return this.#deny(exchange, 'TOKEN_MISSING')
    }
    return this.#deny(exchange, 'REQUEST_DENIED')
  }

  #deny(exchange: Exchange, code: ProxyErrorCode): undefined {
    this.#metrics.counters.requestsDenied++
    this.#refuser.refuse(exchange, code)
    return undefined
  }
}
