// SPDX-License-Identifier: Apache-2.0
// PURE: backendRefs of routes to ServicePorts.
import type { Backend } from '@pillion/contract'
import { keyOf } from '../api/object.ts'
import type { BackendRef } from '../api/route.ts'
import type { Snapshot } from '../index/objects.ts'
import { servicePortName, type Route } from './attach.ts'
import type { Condition } from './condition.ts'
import { compileFilters } from './filters.ts'
import { numberOf, type Pool } from './pool.ts'
import { missingService, noPort } from './wording.ts'

/** Resolves backendRefs, and remembers per route what could not be resolved. */
export class Backends {
  readonly #snapshot: Snapshot
  readonly #ids: Pool
  readonly #problems = new Map<string, { reason: string; messages: Set<string> }>()
  readonly #seen = new Set<string>()

  constructor(snapshot: Snapshot, ids: Pool) {
    this.#snapshot = snapshot
    this.#ids = ids
  }

  of(route: Route, rule: Route['spec']['rules'][number], index: number): Backend[] {
    this.#seen.add(keyOf(route))
    const redirects = rule.filters.some(({ type }) => type === 'RequestRedirect')
    if (rule.backendRefs.length === 0 && !redirects) {
      // A rule that leads nowhere answers 500, as one whose backends are all invalid.
      return [{ servicePort: '', serviceId: 0, weight: 1, filters: [] }]
    }
    return rule.backendRefs.map((ref, i) => {
      const name = this.#resolve(route, ref, `spec.rules[${index}].backendRefs[${i}]`)
      const serviceId = name === '' ? 0 : numberOf(this.#ids, name)
      return {
        servicePort: name,
        serviceId,
        weight: ref.weight,
        filters: compileFilters(ref.filters),
      }
    })
  }

  conditions(): Map<string, Condition> {
    return new Map(
      [...this.#seen].map((key) => {
        const problem = this.#problems.get(key)
        return [
          key,
          problem === undefined
            ? {
                type: 'ResolvedRefs',
                status: 'True',
                reason: 'ResolvedRefs',
                message: 'every backend exists',
              }
            : {
                type: 'ResolvedRefs',
                status: 'False',
                reason: problem.reason,
                // What it costs, once: the Gateway API wants the share of such a backend to fail.
                message: `${[...problem.messages].join('; ')}; their share of requests is answered with 500`,
              },
        ]
      }),
    )
  }

  /** Name of the ServicePort; '' when the reference is invalid: its share of requests is answered with 500. */
  #resolve(route: Route, ref: BackendRef, at: string): string {
    const bad = (reason: string, message: string): string => {
      const key = keyOf(route)
      const problem = this.#problems.get(key) ?? { reason, messages: new Set() }
      problem.messages.add(`${at}: ${message}`)
      this.#problems.set(key, problem)
      return ''
    }
    if ((ref.group !== '' && ref.group !== 'core') || ref.kind !== 'Service') {
      const kind = ref.group === '' ? ref.kind : `${ref.group}/${ref.kind}`
      return bad('InvalidKind', `kind ${kind} is not supported, only Service`)
    }
    const name = `${ref.namespace ?? route.metadata.namespace}/${ref.name}`
    const service = this.#snapshot.Service.get(name)
    if (service === undefined) return bad('BackendNotFound', missingService(name))
    if (service.spec.type === 'ExternalName')
      return bad('BackendNotFound', `Service ${name} is of type ExternalName`)
    if (ref.port === undefined || ref.port === null)
      return bad('UnsupportedValue', `name a port of Service ${name}`)
    const port = service.spec.ports.find(
      (each) => each.port === ref.port && each.protocol === 'TCP',
    )
    if (port === undefined) return bad('BackendNotFound', noPort(service, ref.port))
    return servicePortName(service, port)
  }
}
