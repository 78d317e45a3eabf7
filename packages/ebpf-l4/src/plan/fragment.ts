// SPDX-License-Identifier: Apache-2.0
// One ServicePort and its endpoints -> its entries in pl_services, pl_slots, pl_members and pl_backends.
//
// A set of slots never changes and belongs to one ServicePort: other endpoints are another set, under a number that nobody
// uses, so that a connect that runs meanwhile finds all slots of one set or none. Addresses that lead to the same endpoints
// share their set. Each family has sets of its own: an IPv4 address leads to IPv4 endpoints.
import {
  FailureMode,
  isMappedIPv4,
  L7Protocol,
  Protocol,
  selectEndpoints,
  type Endpoint,
  type Place,
  type ServicePort,
} from '@pillion/contract'
import {
  backendLayout,
  FailureMode as KernelFailureMode,
  memberKeyLayout,
  memberLayout,
  serviceKeyLayout,
  serviceLayout,
  slotKeyLayout,
  slotLayout,
} from '../gen/layout.ts'
import { tableKey } from '../tables.ts'
import { aliasTable } from './alias.ts'
import type { BackendDraft } from './backends.ts'
import type { ServiceFragment } from './state.ts'

/** Node ports are at the unspecified address: the kernel looks there for a port of any node's own address. */
const everyNode = {
  ip4: Buffer.from('00000000000000000000ffff00000000', 'hex'),
  ip6: Buffer.alloc(16),
}

/** A set of slots and how many it has. */
interface SlotSet {
  readonly set: number
  readonly slots: number
}

const noSlots: SlotSet = { set: 0, slots: 0 }

/** The fragment of `servicePort` as `from` sees it. `numberOf` gives the number for slots of this content. */
export function planFragment(
  servicePort: ServicePort,
  endpoints: readonly Endpoint[],
  from: Place,
  backends: BackendDraft,
  numberOf: (content: string) => number,
): ServiceFragment {
  const builder = new FragmentBuilder(servicePort, backends, numberOf)
  for (const isIPv6 of [false, true]) {
    const ofFamily = ({ address }: Endpoint): boolean => isMappedIPv4(address) !== isIPv6
    builder.addFamily(endpoints.filter(ofFamily), from, isIPv6)
  }
  return builder.done()
}

class FragmentBuilder {
  readonly #servicePort: ServicePort
  readonly #backends: BackendDraft
  readonly #numberOf: (content: string) => number
  readonly #services: (readonly [string, Buffer])[] = []
  readonly #slots: (readonly [string, Buffer])[] = []
  readonly #members: (readonly [string, Buffer])[] = []
  readonly #used = new Set<string>()
  /** By content. */
  readonly #sets = new Map<string, SlotSet>()

  constructor(
    servicePort: ServicePort,
    backends: BackendDraft,
    numberOf: (content: string) => number,
  ) {
    this.#servicePort = servicePort
    this.#backends = backends
    this.#numberOf = numberOf
  }

  addFamily(endpoints: readonly Endpoint[], from: Place, isIPv6: boolean): void {
    const { addresses, externalAddresses, nodePort, localOnly, port } = this.#servicePort
    const ofFamily = (address: Buffer): boolean => isMappedIPv4(address) !== isIPv6
    const cluster = addresses.filter(ofFamily)
    const external = externalAddresses.filter(ofFamily)
    // A service has a node port in the families of its cluster addresses.
    const hasNodePort = nodePort !== 0 && cluster.length > 0
    if (cluster.length + external.length === 0) return
    const own = this.#set(selectEndpoints(endpoints, { ...from, localOnly }))
    const others = localOnly
      ? this.#set(selectEndpoints(endpoints, { ...from, localOnly: false }))
      : own
    for (const address of cluster) this.#addEntry(address, port, own)
    for (const address of external) this.#addEntry(address, port, others)
    if (hasNodePort)
      this.#addEntry(isIPv6 ? everyNode.ip6 : everyNode.ip4, nodePort, others)
    // Endpoints that are not chosen but still answer: connected UDP sockets may go on with them.
    for (const endpoint of endpoints) if (endpoint.ready) this.#use(backendOf(endpoint))
  }

  done(): ServiceFragment {
    return {
      services: this.#services,
      slots: this.#slots,
      members: this.#members,
      backends: [...this.#used],
      slotSets: new Map([...this.#sets].map(([content, { set }]) => [content, set])),
    }
  }

  #set(endpoints: readonly Endpoint[]): SlotSet {
    if (endpoints.length === 0) return noSlots
    const choices = endpoints
      .map((endpoint) => ({
        value: backendOf(endpoint),
        weight: Math.max(1, endpoint.weight),
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
    const known = this.#sets.get(content)
    if (known !== undefined) return known
    const made = { set: this.#numberOf(content), slots: values.length }
    this.#sets.set(content, made)
    values.forEach((value, slot) => {
      const key = tableKey(slotKeyLayout.write({ set: made.set, slot }))
      this.#slots.push([key, value])
    })
    if (this.#remembersClients()) this.#addMembers(made.set, numbers)
    return made
  }

  /** A remembered backend is used only while it is one of the set. */
  #remembersClients(): boolean {
    const { protocol, affinitySeconds } = this.#servicePort
    return affinitySeconds > 0 || protocol === Protocol.UDP
  }

  #addMembers(set: number, numbers: readonly number[]): void {
    for (const backend of new Set(numbers)) {
      const key = tableKey(memberKeyLayout.write({ set, backend }))
      this.#members.push([key, memberLayout.write({ backend })])
    }
  }

  #use(value: Buffer): number {
    const text = tableKey(value)
    if (this.#used.has(text)) return this.#backends.number(text)
    this.#used.add(text)
    return this.#backends.acquire(text)
  }

  #addEntry(address: Buffer, port: number, { set, slots }: SlotSet): void {
    const { id, protocol, l7Protocol, failureMode, affinitySeconds } = this.#servicePort
    const l7 = l7Protocol !== L7Protocol.UNSPECIFIED && protocol === Protocol.TCP
    const reject = failureMode === FailureMode.REJECT
    const key = serviceKeyLayout.write({ addr: address, port, protocol })
    const value = serviceLayout.write({
      ...{ id, set, slots },
      affinityS: affinitySeconds,
      l7: Number(l7),
      failureMode: !l7
        ? 0
        : reject
          ? KernelFailureMode.FAILURE_REJECT
          : KernelFailureMode.FAILURE_BYPASS,
    })
    this.#services.push([tableKey(key), value])
  }
}

function backendOf({ address, port, identity }: Endpoint): Buffer {
  return backendLayout.write({ addr: address, port, identity })
}
