// SPDX-License-Identifier: Apache-2.0
// ServicePorts and their endpoints -> pl_services, pl_slots, pl_members, pl_backends: the services that changed.
import {
  Draft,
  Protocol,
  type Endpoint,
  type Place,
  type Resources,
  type ServicePort,
} from '@pillion/contract'
import { slotKeyLayout } from '../gen/layout.ts'
import { tableKey, type Tables } from '../tables.ts'
import { BackendDraft } from './backends.ts'
import { replace } from './draft.ts'
import { planFragment } from './fragment.ts'
import { following, type PlanState, type ServiceFragment } from './state.ts'

type ServiceTables = Pick<
  Tables,
  'pl_services' | 'pl_slots' | 'pl_members' | 'pl_backends'
>

const emptyFragment: ServiceFragment = {
  services: [],
  slots: [],
  members: [],
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
  const members = new Draft(state.tables.pl_members)
  const backends = new BackendDraft(state)
  const fragments = new Draft(state.fragments)
  const endpointNames = planEndpointNames(resources, state, changed.endpoints)
  const touched = new Set(changed.servicePorts)
  for (const name of changed.endpoints) touched.add(serviceNameOf(name))

  const old: ServiceFragment[] = []
  const next: ServiceFragment[] = []
  let { nextSet } = state
  for (const name of touched) {
    const before = state.fragments.get(name) ?? emptyFragment
    const servicePort = resources.servicePort.get(name)
    const adopted = state.adopted.slotSets.get(servicePort?.id ?? 0)
    const setNumber = (content: string): number => {
      const known = before.slotSets.get(content) ?? adopted?.get(content)
      if (known !== undefined) return known
      while (slots.get(firstSlot(nextSet)) !== undefined) nextSet = following(nextSet)
      const number = nextSet
      nextSet = following(nextSet)
      return number
    }
    const endpoints = endpointsOf(endpointNames.get(name), resources)
    const fragment =
      servicePort === undefined || !isTranslated(servicePort)
        ? emptyFragment
        : planFragment(servicePort, endpoints, from, backends, setNumber)
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
  replace(
    members,
    old.map((fragment) => fragment.members),
    next.map((fragment) => fragment.members),
  )
  return {
    tables: {
      pl_services: services.done(),
      pl_slots: slots.done(),
      pl_members: members.done(),
      pl_backends: backends.table(),
    },
    state: {
      ...state,
      ...backends.state(),
      nextSet,
      fragments: fragments.done(),
      endpointNames: endpointNames.done(),
    },
  }
}

/** The kernel translates TCP and UDP, and only what has a cluster address. */
function isTranslated({ protocol, addresses, externalAddresses }: ServicePort): boolean {
  const known = protocol === Protocol.TCP || protocol === Protocol.UDP
  return known && addresses.length + externalAddresses.length > 0
}

/** Key of slot 0: where it is, its set is in use. */
function firstSlot(set: number): string {
  return tableKey(slotKeyLayout.write({ set, slot: 0 }))
}

function planEndpointNames(
  resources: Resources,
  state: PlanState,
  changed: Iterable<string>,
): Draft<ReadonlySet<string>> {
  const endpointNames = new Draft(state.endpointNames)
  const copies = new Map<string, Set<string>>()
  for (const name of changed) {
    const service = serviceNameOf(name)
    let names = copies.get(service)
    if (names === undefined) {
      names = new Set(endpointNames.get(service))
      copies.set(service, names)
    }
    if (resources.endpoint.has(name)) names.add(name)
    else names.delete(name)
  }
  for (const [service, names] of copies) {
    if (names.size === 0) endpointNames.delete(service)
    else endpointNames.set(service, names)
  }
  return endpointNames
}

function endpointsOf(
  names: ReadonlySet<string> | undefined,
  resources: Resources,
): Endpoint[] {
  return [...(names ?? [])].flatMap((name) => resources.endpoint.get(name) ?? [])
}
