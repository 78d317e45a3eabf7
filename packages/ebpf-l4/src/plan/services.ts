// SPDX-License-Identifier: Apache-2.0
// ServicePorts and their endpoints -> pl_services, pl_slots, pl_backends.
//
// pl_services.id and slot_key.service are ServicePort.id << 1 | isIPv6: an IPv4 cluster address leads to IPv4 endpoints and
// an IPv6 one to IPv6 endpoints, so each family has slots of its own. The kernel shifts back before it tells the proxy.
import {
  FailureMode,
  isMappedIPv4,
  L7Protocol,
  Protocol,
  selectEndpoints,
  type Endpoint,
  type Place,
  type Resources,
  type ServicePort,
} from '@pillion/contract'
import {
  backendLayout,
  FailureMode as KernelFailureMode,
  serviceKeyLayout,
  serviceLayout,
  slotKeyLayout,
  slotLayout,
} from '../gen/layout.ts'
import { tableKey, type Tables } from '../tables.ts'
import { aliasTable } from './alias.ts'
import { BackendDraft } from './backends.ts'
import { Draft, replace, type Entries } from './draft.ts'
import { following, type PlanState, type ServiceFragment, type SlotSet } from './state.ts'

type ServiceTables = Pick<Tables, 'pl_services' | 'pl_slots' | 'pl_backends'>

const emptyFragment: ServiceFragment = {
  services: [],
  slots: [],
  backends: [],
  slotSets: new Map(),
}

/** Name of the ServicePort that an Endpoint belongs to: "<ServicePort name>|address:port". */
export function serviceNameOf(endpointName: string): string {
  return endpointName.slice(0, endpointName.lastIndexOf('|'))
}

/** Plans the services that own a changed endpoint or changed themselves, as `from` sees them; the rest is shared. */
export function planServices(
  resources: Resources,
  from: Place,
  state: PlanState,
  changed: { servicePorts: Iterable<string>; endpoints: Iterable<string> },
): { tables: ServiceTables; state: PlanState } {
  const services = new Draft(state.tables.pl_services)
  const slots = new Draft(state.tables.pl_slots)
  const backends = new BackendDraft(state)
  const fragments = new Draft(state.fragments)
  const members = planMembers(resources, state, changed.endpoints)
  const touched = new Set(changed.servicePorts)
  for (const name of changed.endpoints) touched.add(serviceNameOf(name))

  const old: ServiceFragment[] = []
  const next: ServiceFragment[] = []
  let { nextGeneration } = state
  for (const name of touched) {
    const before = state.fragments.get(name) ?? emptyFragment
    const generationOf = (id: number, content: string): number => {
      const last = before.slotSets.get(id) ?? state.adopted.slotSets.get(id)
      if (last?.content === content) return last.generation
      const generation = nextGeneration
      nextGeneration = following(nextGeneration)
      return generation
    }
    const servicePort = resources.servicePort.get(name)
    const endpoints = endpointsOf(members.get(name), resources)
    const fragment =
      servicePort === undefined || !isTranslated(servicePort)
        ? emptyFragment
        : new FragmentBuilder(servicePort, from, backends, generationOf).build(endpoints)
    backends.release(before.backends)
    if (fragment === emptyFragment) fragments.delete(name)
    else fragments.set(name, fragment)
    old.push(before)
    next.push(fragment)
  }
  replace(
    services,
    old.map((fragment) => fragment.services),
    next.map((fragment) => fragment.services),
  )
  replace(
    slots,
    old.map((fragment) => fragment.slots),
    next.map((fragment) => fragment.slots),
  )
  return {
    tables: {
      pl_services: services.done(),
      pl_slots: slots.done(),
      pl_backends: backends.table(),
    },
    state: {
      ...state,
      ...backends.state(),
      nextGeneration,
      fragments: fragments.done(),
      members: members.done(),
    },
  }
}

/** The kernel translates TCP and UDP, and only what has a cluster address. */
function isTranslated({ protocol, addresses }: ServicePort): boolean {
  const known = protocol === Protocol.TCP || protocol === Protocol.UDP
  return known && addresses.length > 0
}

function planMembers(
  resources: Resources,
  state: PlanState,
  changed: Iterable<string>,
): Draft<string, ReadonlySet<string>> {
  const members = new Draft(state.members)
  const copies = new Map<string, Set<string>>()
  for (const name of changed) {
    const service = serviceNameOf(name)
    let names = copies.get(service)
    if (names === undefined) {
      names = new Set(members.get(service))
      copies.set(service, names)
    }
    if (resources.endpoint.has(name)) names.add(name)
    else names.delete(name)
  }
  for (const [service, names] of copies) {
    if (names.size === 0) members.delete(service)
    else members.set(service, names)
  }
  return members
}

function endpointsOf(
  names: ReadonlySet<string> | undefined,
  resources: Resources,
): Endpoint[] {
  return [...(names ?? [])].flatMap((name) => resources.endpoint.get(name) ?? [])
}

/** Makes the fragment of one ServicePort. */
class FragmentBuilder {
  readonly #servicePort: ServicePort
  readonly #from: Place
  readonly #backends: BackendDraft
  /** Generation for the slots of a family: the old one if they are the same. */
  readonly #generation: (id: number, content: string) => number
  readonly #slots: (readonly [string, Buffer])[] = []
  readonly #used = new Set<string>()
  readonly #slotSets = new Map<number, SlotSet>()

  constructor(
    servicePort: ServicePort,
    from: Place,
    backends: BackendDraft,
    generation: (id: number, content: string) => number,
  ) {
    this.#servicePort = servicePort
    this.#from = from
    this.#backends = backends
    this.#generation = generation
  }

  build(endpoints: readonly Endpoint[]): ServiceFragment {
    const { addresses, id, localOnly } = this.#servicePort
    const services: (readonly [string, Buffer])[] = []
    for (const isIPv6 of [false, true]) {
      const own = addresses.filter((address) => isMappedIPv4(address) !== isIPv6)
      if (own.length === 0) continue
      const family = endpoints.filter(({ address }) => isMappedIPv4(address) !== isIPv6)
      const serviceId = ((id << 1) | Number(isIPv6)) >>> 0
      const chosen = selectEndpoints(family, { ...this.#from, localOnly })
      const slots = this.#addSlots(serviceId, chosen)
      services.push(...own.map((address) => this.#entry(address, serviceId, slots)))
    }
    return {
      services,
      slots: this.#slots,
      backends: [...this.#used],
      slotSets: this.#slotSets,
    }
  }

  /** Returns how many slots there are. */
  #addSlots(service: number, endpoints: readonly Endpoint[]): number {
    const choices = endpoints
      .map(({ address, port, identity, weight }) => ({
        value: backendLayout.write({ addr: address, port, identity }),
        weight: Math.max(1, weight),
      }))
      // The order of resources must not matter: equal endpoints make equal slots.
      .sort((a, b) => a.value.compare(b.value))
    const numbers = choices.map(({ value }) => this.#use(value))
    const values = aliasTable(choices.map(({ weight }) => weight)).map((slot) =>
      slotLayout.write({
        threshold: slot.threshold,
        primary: numbers[slot.primary] ?? 0,
        alias: numbers[slot.alias] ?? 0,
      }),
    )
    const content = tableKey(Buffer.concat(values))
    const generation = this.#generation(service, content)
    this.#slotSets.set(service, { generation, content })
    values.forEach((value, slot) => {
      const key = tableKey(slotKeyLayout.write({ service, generation, slot }))
      this.#slots.push([key, value])
    })
    return values.length
  }

  #use(value: Buffer): number {
    const text = tableKey(value)
    if (this.#used.has(text)) return this.#backends.number(text)
    this.#used.add(text)
    return this.#backends.acquire(text)
  }

  #entry(address: Buffer, id: number, slots: number): Entries[number] {
    const { port, protocol, l7Protocol, failureMode } = this.#servicePort
    const l7 = l7Protocol !== L7Protocol.UNSPECIFIED && protocol === Protocol.TCP
    const reject = failureMode === FailureMode.REJECT
    const key = serviceKeyLayout.write({ addr: address, port, protocol })
    const value = serviceLayout.write({
      id,
      generation: this.#slotSets.get(id)?.generation ?? 0,
      slots,
      l7: Number(l7),
      failureMode: !l7
        ? 0
        : reject
          ? KernelFailureMode.FAILURE_REJECT
          : KernelFailureMode.FAILURE_BYPASS,
    })
    return [tableKey(key), value]
  }
}
