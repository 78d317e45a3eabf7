// SPDX-License-Identifier: Apache-2.0
// PURE: backendRefs of routes to ServicePorts.
import { type Backend, type Filter, L7Protocol } from '@pillion/contract'
import { keyOf } from '../api/object.ts'
import type { BackendObjectRef, RouteFilter } from '../api/route-filter.ts'
import type { Snapshot } from '../index/objects.ts'
import { appProtocols, servicePortName, type Route } from './parents.ts'
import type { Condition } from './condition.ts'
import { compileFilters } from './filters.ts'
import { numberOf, type Pool } from './pool.ts'
import { missingService, noPort } from './wording.ts'

/** What could not be resolved for a route. What it costs is said once for each kind of reference. */
interface Problem {
  readonly reason: string
  readonly backends: Set<string>
  readonly mirrors: Set<string>
}

interface Place {
  readonly route: Route
  /** "spec.rules[0].backendRefs[1]". */
  readonly at: string
  readonly use: 'backends' | 'mirrors'
}

/** The Gateway API wants the share of an invalid backend to fail, and says nothing of mirrors: no copy is sent. */
const costs = {
  backends: 'their share of requests is answered with 500',
  mirrors: 'no copy is sent there',
} as const

const nowhere: Backend = {
  servicePort: '',
  serviceId: 0,
  weight: 1,
  filters: [],
  protocol: L7Protocol.UNSPECIFIED,
}

const resolved: Condition = {
  type: 'ResolvedRefs',
  status: 'True',
  reason: 'ResolvedRefs',
  message: 'every backend exists',
}

/** Resolves backendRefs and mirrors, and remembers per route what could not be resolved. */
export class Backends {
  readonly #snapshot: Snapshot
  readonly #ids: Pool
  readonly #problems = new Map<string, Problem>()
  readonly #seen = new Set<string>()

  constructor(snapshot: Snapshot, ids: Pool) {
    this.#snapshot = snapshot
    this.#ids = ids
  }

  of(route: Route, rule: Route['spec']['rules'][number], index: number): Backend[] {
    this.#seen.add(keyOf(route))
    const redirects = rule.filters.some(({ type }) => type === 'RequestRedirect')
    // A rule that leads nowhere answers 500, as one whose backends are all invalid.
    if (rule.backendRefs.length === 0 && !redirects) return [nowhere]
    return rule.backendRefs.map((ref, i) => {
      const at = `spec.rules[${index}].backendRefs[${i}]`
      return {
        ...this.#resolve({ route, at, use: 'backends' }, ref),
        weight: ref.weight,
        filters: this.filters(route, ref.filters, at),
      }
    })
  }

  /** `at` is the field that the filters are in, "spec.rules[0]". */
  filters(route: Route, filters: readonly RouteFilter[], at: string): Filter[] {
    return compileFilters(filters, at, (ref, place) =>
      this.#resolve({ route, at: place, use: 'mirrors' }, ref),
    )
  }

  conditions(): Map<string, Condition> {
    return new Map([...this.#seen].map((key) => [key, this.#condition(key)]))
  }

  #condition(key: string): Condition {
    const problem = this.#problems.get(key)
    if (problem === undefined) return resolved
    const message = (['backends', 'mirrors'] as const)
      .filter((use) => problem[use].size > 0)
      .map((use) => `${[...problem[use]].join('; ')}; ${costs[use]}`)
      .join('; ')
    return { ...resolved, status: 'False', reason: problem.reason, message }
  }

  /** The ServicePort and how it is spoken to; `nowhere` when the reference is invalid. */
  #resolve(place: Place, ref: BackendObjectRef): Backend {
    const bad = (reason: string, message: string): Backend => {
      const key = keyOf(place.route)
      const problem = this.#problems.get(key) ?? {
        reason,
        backends: new Set(),
        mirrors: new Set(),
      }
      problem[place.use].add(`${place.at}: ${message}`)
      this.#problems.set(key, problem)
      return nowhere
    }
    if ((ref.group !== '' && ref.group !== 'core') || ref.kind !== 'Service') {
      const kind = ref.group === '' ? ref.kind : `${ref.group}/${ref.kind}`
      return bad('InvalidKind', `kind ${kind} is not supported, only Service`)
    }
    const name = `${ref.namespace ?? place.route.metadata.namespace}/${ref.name}`
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
    const said = port.appProtocol ?? undefined
    const protocol = said === undefined ? L7Protocol.UNSPECIFIED : appProtocols.get(said)
    // GEP-1911: a backend that cannot be spoken to is an invalid one.
    if (protocol === undefined)
      return bad(
        'UnsupportedProtocol',
        `port ${ref.port} of Service ${name} has appProtocol ${said}; supported are ${[...appProtocols.keys()].join(', ')}`,
      )
    const servicePort = servicePortName(service, port)
    const serviceId = numberOf(this.#ids, servicePort)
    return { ...nowhere, servicePort, serviceId, protocol }
  }
}
