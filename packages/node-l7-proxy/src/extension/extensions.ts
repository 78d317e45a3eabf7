// SPDX-License-Identifier: Apache-2.0
// Filters of users (docs/l7-filters.md) on the way of a request and of its answer. A service that declares none never comes here.
import type { Attempt, AttemptSink } from '../attempt.ts'
import type { ProxyErrorCode } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { editHeaders } from '../filter/header-modifier.ts'
import { trailersOnly } from '../grpc/status.ts'
import { getHeader, type Headers } from '../headers.ts'
import { type FilterSeries, nobody } from '../metrics/filters.ts'
import { applyEdits } from './fields.ts'
import { Gate } from './gate.ts'
import type { FilterLibrary } from './library.ts'
import type { Failure, Result } from './result.ts'
import type { FilterUse } from './use.ts'
import type { CheckedAnswer, Facts, Hook } from './wire.ts'

/** Whoever ends an exchange with an answer of the proxy's own. */
export type Answerer = {
  refuse(exchange: Exchange, code: ProxyErrorCode, detail: string): void
  answer(
    exchange: Exchange,
    status: number,
    headers: Headers,
    text: string,
    flag: string,
  ): void
}

const failureTexts: Readonly<Record<Failure, string>> = {
  threw: 'failed',
  timeout: 'took too long',
  died: 'ended',
  overflow: 'has too much to do',
  absent: 'is not there',
}

export class Extensions {
  readonly #library: FilterLibrary
  readonly #metrics: FilterSeries
  readonly #answers: Answerer
  readonly #gate: Gate
  readonly #seen: WeakSet<Exchange> = new WeakSet()

  /** `sink`: what an endpoint says goes there, once the filters have seen it. */
  constructor(
    library: FilterLibrary,
    metrics: FilterSeries,
    answers: Answerer,
    sink: AttemptSink,
  ) {
    this.#library = library
    this.#metrics = metrics
    this.#answers = answers
    this.#gate = new Gate(sink)
  }

  /** Where attempts of a service with filters tell what they hear. */
  get sink(): AttemptSink {
    return this.#gate
  }

  /**
   * True: the filters see the request now, and `again` is called unless one of them ends it. False: they have seen it. Once a
   * request, whatever number of attempts it takes.
   */
  holdsRequest(
    exchange: Exchange,
    uses: readonly FilterUse[],
    again: () => void,
  ): boolean {
    if (this.#seen.has(exchange)) return false
    this.#seen.add(exchange)
    if (!this.#anyHas(uses, 'request')) return false
    void this.#request(exchange, uses).then((goes) => {
      if (goes) again()
    })
    return true
  }

  /** The filters see the head of an answer, the last one first; then `forward`, unless one of them fails and is needed. */
  onHead(
    attempt: Attempt,
    uses: readonly FilterUse[],
    status: number,
    headers: Headers,
    forward: () => void,
  ): void {
    if (!this.#anyHas(uses, 'response')) return forward()
    this.#gate.close(attempt)
    void this.#response(attempt.exchange, uses, status, headers).then((goes) => {
      if (!goes) return attempt.cancel()
      forward()
      this.#gate.open(attempt)
    })
  }

  #anyHas(uses: readonly FilterUse[], hook: Hook): boolean {
    return uses.some(({ name }) => this.#library.host(name)?.has(hook) ?? true)
  }

  async #request(exchange: Exchange, uses: readonly FilterUse[]): Promise<boolean> {
    const { headers } = exchange.message
    for (const use of uses) {
      const result = await this.#call(exchange, use, 'request', 0, headers)
      if (!this.#goesOn(exchange, use, result, headers)) return false
      if (result?.kind !== 'done' || result.answer === undefined) continue
      this.#answer(exchange, use, result.answer)
      return false
    }
    return true
  }

  async #response(
    exchange: Exchange,
    uses: readonly FilterUse[],
    status: number,
    headers: Headers,
  ): Promise<boolean> {
    for (const use of uses.toReversed()) {
      const result = await this.#call(exchange, use, 'response', status, headers)
      if (!this.#goesOn(exchange, use, result, headers)) return false
    }
    return true
  }

  /** Makes the changes of a filter that did its work; of one that failed there are none. False: the exchange is over. */
  #goesOn(
    exchange: Exchange,
    use: FilterUse,
    result: Result | undefined,
    headers: Headers,
  ): boolean {
    if (exchange.done) return false
    if (result === undefined) return true
    if (result.kind === 'done') {
      applyEdits(headers, result.edits)
      return true
    }
    if (use.bypass) return true
    exchange.why = `filter ${use.name}: ${result.error}`
    const detail = `${use.name} ${failureTexts[result.kind]}`
    this.#answers.refuse(exchange, 'FILTER_FAILED', detail)
    return false
  }

  /** undefined: the filter does not care for this. */
  async #call(
    exchange: Exchange,
    use: FilterUse,
    hook: Hook,
    status: number,
    headers: Headers,
  ): Promise<Result | undefined> {
    const host = this.#library.host(use.name)
    if (host === undefined) {
      this.#metrics.observe(nobody, hook, 'absent', 0)
      return { kind: 'absent', error: 'it has no thread: see /debug/config' }
    }
    if (!host.has(hook)) return undefined
    const { promise, resolve } = Promise.withResolvers<Result>()
    const { config, timeoutMs } = use
    const call = { hook, config, facts: factsOf(exchange), status, headers }
    host.call(call, timeoutMs, resolve)
    return promise
  }

  /** A filter's own answer, which a browser may read as it may the service's. */
  #answer(exchange: Exchange, { name }: FilterUse, answer: CheckedAnswer): void {
    const { status, headers, body, grpcStatus } = answer
    exchange.why = `filter ${name} answered`
    if (exchange.cors !== undefined) editHeaders(headers, exchange.cors)
    if (!exchange.grpc) return this.#answers.answer(exchange, status, headers, body, 'FA')
    exchange.grpcStatus = grpcStatus
    const list = [...trailersOnly(grpcStatus, body), ...headers]
    this.#answers.answer(exchange, 200, list, '', 'FA')
  }
}

function factsOf({ connection, message, service, rule, trace }: Exchange): Facts {
  const { client } = connection
  const { destination } = service
  const known = (text: string): string => (text === 'unknown' ? '' : text)
  return {
    source: {
      namespace: client.namespace,
      serviceAccount: client.serviceAccount,
      workload: known(client.labels.workload),
      address: client.address,
    },
    service: {
      namespace: destination.serviceNamespace,
      name: destination.serviceName,
      port: service.port,
    },
    route: {
      kind: rule?.routeKind ?? '',
      namespace: rule?.routeNamespace ?? '',
      name: rule?.routeName ?? '',
      rule: rule?.text ?? '',
    },
    requestId: getHeader(message.headers, 'x-request-id') ?? '',
    traceId: trace?.traceId ?? '',
    request: {
      method: message.method,
      path: message.path,
      authority: message.authority,
    },
  }
}
