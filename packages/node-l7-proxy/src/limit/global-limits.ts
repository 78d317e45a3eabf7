// SPDX-License-Identifier: Apache-2.0
// Limits that somebody counts for the whole cluster: every request to a service that declares them asks its rate limit
// service first. Nobody waits longer than the timeout, and no more calls are on their way than the worker allows.
import { type GlobalRateLimit, ReservedIdentity } from '@pillion/contract'
import type { Endpoint } from '../cluster/endpoint.ts'
import type { ConfigStore, Service } from '../config/config.ts'
import type { Exchange } from '../exchange.ts'
import { editHeaders } from '../filter/header-modifier.ts'
import {
  type RateLimitDescriptor,
  RateLimitRequest,
} from '../gen/envoy/service/ratelimit/v3/rls.ts'
import type { Headers } from '../headers.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { UpstreamPools } from '../upstream/pool.ts'
import { type CallResult, LimitCall, type NoAnswer } from './call.ts'
import { descriptorsOf } from './descriptors.ts'
import { type LimitVerdict, verdictOf } from './verdict.ts'

/** Why a request does not go on; `unanswered` only where the limit fails closed. */
export type LimitRefusal =
  | Extract<LimitVerdict, { kind: 'over' }>
  | { readonly kind: 'unanswered'; readonly detail: string }

export type GlobalLimitParts = {
  readonly config: ConfigStore
  readonly pools: UpstreamPools
  readonly metrics: Metrics
}

/** An endpoint that could not be connected to is left alone for a while, twice as long each time. */
export const restMs = { first: 100, longest: 5000 } as const

type Rest = { untilMs: number; failures: number }
type Done = (refusal: LimitRefusal | undefined) => void

type Question = {
  readonly exchange: Exchange
  readonly limit: GlobalRateLimit
  readonly descriptors: RateLimitDescriptor[]
  readonly done: Done
}

/** Endpoints that one question is brought to. */
const maxTries = 3

export class GlobalLimits {
  readonly #parts: GlobalLimitParts
  readonly #maxCalls: number
  readonly #rests: WeakMap<Endpoint, Rest> = new WeakMap()
  /** Nobody rests after it. */
  #lastRestMs = 0
  /** What the last call that went wrong met; '': there was none since the last that went well. */
  problem = ''

  /** `maxCalls`: calls on their way at a time, to all rate limit services. */
  constructor(parts: GlobalLimitParts, maxCalls: number) {
    this.#parts = parts
    this.#maxCalls = maxCalls
  }

  /**
   * `done` hears once whether the request is refused; undefined: it goes on, with the headers that the service adds. At once
   * when there is nothing to ask or nobody to be asked.
   */
  ask(exchange: Exchange, limit: GlobalRateLimit, done: Done): void {
    const { message, connection, service } = exchange
    const facts = { ...message, client: connection.client, service: service.name }
    const descriptors = descriptorsOf(limit, facts)
    if (descriptors.length === 0) return done(undefined)
    const question = { exchange, limit, descriptors, done }
    const target = this.#parts.config.current.byName.get(limit.servicePort)
    const endpoint = target && this.#choose(target, exchange)
    if (target === undefined || endpoint === undefined)
      return this.#unanswered(question, 'not_asked', noEndpoint(limit))
    const refusal = this.#overflow() ?? target.cluster.breaker.refusal()
    if (refusal !== undefined) return this.#unanswered(question, 'not_asked', refusal)
    this.#try(question, target, endpoint, performance.now() + limit.timeoutMs, maxTries)
  }

  /** Why there must not be one more call. */
  #overflow(): string | undefined {
    const { counters, gauges } = this.#parts.metrics
    if (gauges.limitCalls < this.#maxCalls) return undefined
    counters.limitCallsOverflow++
    return `${this.#maxCalls} calls to rate limit services are on their way`
  }

  /** Where the question was not even taken, it goes to another endpoint: up to `tries` of them, all within the timeout. */
  #try(
    question: Question,
    target: Service,
    endpoint: Endpoint,
    deadlineMs: number,
    tries: number,
  ): void {
    const { exchange, limit, descriptors } = question
    const call = this.#prepare(target, endpoint, (result) => {
      exchange.asking = undefined
      const again = result.kind === 'error' && !result.taken && tries > 1
      const next = again ? this.#choose(target, exchange) : undefined
      if (next === undefined) this.#hear(question, result)
      else this.#try(question, target, next, deadlineMs, tries - 1)
    })
    exchange.asking = call
    const { domain, hits: hitsAddend } = limit
    const bytes = RateLimitRequest.encode({ domain, descriptors, hitsAddend }).finish()
    // On nobody's behalf: policy judges the proxy itself, as a process of the node.
    const { any } = ReservedIdentity
    const upstream = this.#parts.pools.get(endpoint, any, true, target.cluster)
    const authority = `${target.destination.service}:${target.port}`
    call.start(upstream, authority, bytes, Math.max(1, deadlineMs - performance.now()))
  }

  /** Counted here, in the service's own limits, and against the endpoint that fails. */
  #prepare(
    { cluster }: Service,
    endpoint: Endpoint,
    done: (result: CallResult) => void,
  ): LimitCall {
    const { gauges } = this.#parts.metrics
    const startedMs = performance.now()
    const place = cluster.breaker.enter()
    gauges.limitCalls++
    endpoint.active++
    return new LimitCall(place, (result) => {
      gauges.limitCalls--
      endpoint.active--
      const good = result.kind === 'answer'
      if (result.kind !== 'cancelled')
        cluster.judge(endpoint, good ? 'good' : 'gateway', performance.now() - startedMs)
      if (good || result.connected) this.#rests.delete(endpoint)
      else if (result.kind !== 'cancelled') this.#rest(endpoint)
      done(result)
    })
  }

  #hear(question: Question, result: CallResult): void {
    const { exchange, done } = question
    if (result.kind !== 'answer')
      return this.#unanswered(question, result.kind, result.detail)
    const verdict = readVerdict(result.message)
    if (typeof verdict === 'string') return this.#unanswered(question, 'error', verdict)
    this.problem = ''
    const over = verdict.kind === 'over'
    this.#count(exchange, over ? 'over_limit' : 'ok')
    if (verdict.kind === 'over') return done(verdict)
    const { requestHeaders, responseHeaders } = verdict
    if (requestHeaders.length > 0)
      editHeaders(exchange.message.headers, adding(requestHeaders))
    if (responseHeaders.length > 0) exchange.responseEdits.push(adding(responseHeaders))
    done(undefined)
  }

  #unanswered(
    { exchange, limit, done }: Question,
    outcome: NoAnswer | 'not_asked',
    why: string,
  ): void {
    const { servicePort, failClosed } = limit
    this.#count(exchange, outcome)
    const detail = servicePort === '' ? why : `${servicePort}: ${why}`
    if (outcome !== 'cancelled') this.problem = detail
    done(failClosed ? { kind: 'unanswered', detail } : undefined)
  }

  #count({ service }: Exchange, outcome: string): void {
    this.#parts.metrics.services.add('limitCalls', service.name, outcome)
  }

  /** One that does not rest; undefined: there is none. */
  #choose(target: Service, { message, connection }: Exchange): Endpoint | undefined {
    const nowMs = performance.now()
    const usable = target.cluster.usable(target.ready)
    const rests = (endpoint: Endpoint): boolean =>
      (this.#rests.get(endpoint)?.untilMs ?? 0) > nowMs
    const awake =
      nowMs < this.#lastRestMs ? usable.filter((each) => !rests(each)) : usable
    const { source } = connection.origin
    return target.cluster.choose(awake, [], message.headers, source)
  }

  #rest(endpoint: Endpoint): void {
    const nowMs = performance.now()
    const rest = this.#rests.get(endpoint) ?? { untilMs: 0, failures: 0 }
    // All calls that waited for the same connection fail together: that is one failure.
    if (nowMs < rest.untilMs) return
    const ms = Math.min(restMs.longest, restMs.first * 2 ** rest.failures)
    rest.failures++
    rest.untilMs = nowMs + ms
    this.#rests.set(endpoint, rest)
    this.#lastRestMs = Math.max(this.#lastRestMs, rest.untilMs)
  }
}

function readVerdict(
  message: Buffer,
): Exclude<LimitVerdict, { kind: 'unknown' }> | string {
  try {
    const verdict = verdictOf(message)
    if (verdict.kind !== 'unknown') return verdict
    return 'it says neither OK nor OVER_LIMIT'
  } catch (error) {
    return `its answer is no RateLimitResponse: ${error instanceof Error ? error.message : String(error)}`
  }
}

function noEndpoint({ servicePort }: GlobalRateLimit): string {
  return servicePort === ''
    ? 'globalRateLimit refers to a Service that does not exist'
    : 'no endpoint that can be reached'
}

function adding(headers: Headers): {
  set: [string, string][]
  add: [string, string][]
  remove: string[]
} {
  const add: [string, string][] = []
  for (let i = 0; i < headers.length; i += 2)
    add.push([headers[i] ?? '', headers[i + 1] ?? ''])
  return { set: [], add, remove: [] }
}
