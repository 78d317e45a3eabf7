// SPDX-License-Identifier: Apache-2.0
// Flow events: a bounded memory of the last ones, and whoever follows. They are decoded and named only when somebody reads.
import { formatAddress } from '@pillion/contract'
import {
  Direction,
  EventFlag,
  EventKind,
  type EventRecords,
  type FlowEvent,
} from '@pillion/ebpf-l4'
import { almostAllowed, protocolText } from './almost.ts'
import type { Names, Peer } from './names.ts'

/** One end of a flow. */
export interface FlowEnd {
  readonly address: string
  readonly port: number
  readonly identity: number
  readonly namespace: string
  readonly pod: string
  readonly workload: string
}

/** One line of /debug/flows. */
export interface Flow {
  /** RFC 3339, milliseconds. */
  readonly time: string
  /** Shift: a run in one direction of an accelerated connection goes on by TCP; told once for each direction. */
  readonly kind: 'open' | 'close' | 'deny' | 'shift'
  /** Allow as well for a deny of a policy in Shadow mode, which did not happen. */
  readonly verdict: 'allow' | 'deny'
  /** A policy in Shadow mode would have denied it. Told for the first of its kind; /debug/shadow counts all. */
  readonly shadow: boolean
  /** Deny: whose policy refused. Otherwise the end that saw it. */
  readonly direction: 'ingress' | 'egress'
  readonly src: FlowEnd
  readonly dst: FlowEnd
  /** "shop/web:80" when the application asked for a service. */
  readonly service?: string
  readonly protocol: string
  /** Shift: what went around TCP before, by the end that saw it. */
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly durationMs: number
  readonly rttUs: number
  readonly retransmits: number
  readonly rule?: string
  /** Deny by default deny: the rule that almost allowed it, and in what the connection differs. */
  readonly nearest?: string
  readonly l7: boolean
  readonly accelerated: boolean
  /** Close: TCP carried a run of it. */
  readonly shifted: boolean
  /** A deny of a connection that was open when the policy changed. */
  readonly openConnection: boolean
  readonly process: { readonly pid: number; readonly comm: string }
}

interface FlowRecord {
  readonly records: EventRecords
  readonly index: number
  readonly names: Names
  /** Wall clock minus CLOCK_MONOTONIC. */
  readonly clockOffsetMs: number
}

/** A reader; returns false when it could not take the line. */
export type Follower = (line: string) => boolean

const maxFollowers = 16

export class FlowLog {
  readonly #ring: FlowRecord[] = []
  readonly #capacity: number
  readonly #followers = new Set<Follower>()
  #next = 0
  #lost = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Lines that slow followers did not get. */
  get lost(): number {
    return this.#lost
  }

  /** Events in the order in which they were read; EVENT_EXE is not for people. */
  push(records: EventRecords, names: Names, clockOffsetMs: number): void {
    for (let index = 0; index < records.length; index++) {
      if (records.kind(index) === EventKind.EVENT_EXE) continue
      const record = { records, index, names, clockOffsetMs }
      this.#ring[this.#next] = record
      this.#next = (this.#next + 1) % this.#capacity
      if (this.#followers.size === 0) continue
      const line = `${JSON.stringify(toFlow(record))}\n`
      for (const follower of this.#followers) if (!follower(line)) this.#lost++
    }
  }

  /** The last `count` flows, oldest first. */
  last(count: number = this.#capacity): Flow[] {
    const full = this.#ring.length === this.#capacity
    const ordered = full
      ? [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)]
      : this.#ring
    return ordered.slice(Math.max(0, ordered.length - count)).map(toFlow)
  }

  /** False: there are too many followers already. */
  follow(follower: Follower): boolean {
    if (this.#followers.size >= maxFollowers) return false
    this.#followers.add(follower)
    return true
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower)
  }
}

/** What to add to a CLOCK_MONOTONIC time in milliseconds to get the time of day. */
export function clockOffsetMs(): number {
  return Date.now() - Number(process.hrtime.bigint()) / 1e6
}

const kinds: Readonly<Record<number, Flow['kind']>> = {
  [EventKind.EVENT_OPEN]: 'open',
  [EventKind.EVENT_CLOSE]: 'close',
  [EventKind.EVENT_DENY]: 'deny',
  [EventKind.EVENT_SHIFT]: 'shift',
}

function toFlow({ records, index, names, clockOffsetMs }: FlowRecord): Flow {
  const event = records.at(index)
  const kind = kinds[event.kind] ?? 'open'
  const service = serviceOf(event, names)
  const rule = names.rule(event.rule)
  const nearest = kind === 'deny' ? nearestOf(event, names) : undefined
  const shadow = isShadow(event)
  return {
    time: new Date(Number(event.timeNs) / 1e6 + clockOffsetMs).toISOString(),
    kind,
    verdict: kind === 'deny' && !shadow ? 'deny' : 'allow',
    shadow,
    direction: directionOf(event, kind),
    src: end(event.src, event.srcPort, names.peer(event.src, event.srcIdentity)),
    dst: end(event.dst, event.dstPort, names.peer(event.dst, event.dstIdentity)),
    ...(service === undefined ? {} : { service }),
    protocol: protocolText(event.protocol),
    bytesSent: Number(event.bytesSent),
    bytesReceived: Number(event.bytesReceived),
    durationMs: Math.round(Number(event.durationNs) / 1e3) / 1e3,
    rttUs: event.srttUs,
    retransmits: event.retransmits,
    ...(rule === undefined ? {} : { rule }),
    ...(nearest === undefined ? {} : { nearest }),
    l7: (event.flags & EventFlag.EVENT_F_L7) !== 0,
    accelerated: (event.flags & EventFlag.EVENT_F_ACCEL) !== 0,
    shifted: (event.flags & EventFlag.EVENT_F_SHIFTED) !== 0,
    openConnection: (event.flags & EventFlag.EVENT_F_OPEN_CONNECTION) !== 0,
    process: { pid: event.pid, comm: commOf(event) },
  }
}

/** True for a deny that did not happen. */
export function isShadow({ flags }: Pick<FlowEvent, 'flags'>): boolean {
  return (flags & EventFlag.EVENT_F_SHADOW) !== 0
}

const shadowOf: Readonly<Record<number, Direction>> = {
  [Direction.DIRECTION_INGRESS]: Direction.DIRECTION_SHADOW_INGRESS,
  [Direction.DIRECTION_EGRESS]: Direction.DIRECTION_SHADOW_EGRESS,
}

function nearestOf(event: FlowEvent, names: Names): string | undefined {
  const { srcIdentity: src, dstIdentity: dst, protocol, dstPort: port } = event
  const { rule: ruleId, direction } = event
  const judgement = {
    ...{ allowed: false, ruleId },
    direction: (isShadow(event) ? shadowOf[direction] : direction) as Direction,
  }
  return almostAllowed(names, { src, dst, protocol, port }, judgement)
}

function directionOf(event: FlowEvent, kind: Flow['kind']): Flow['direction'] {
  const ingress =
    kind === 'deny'
      ? event.direction === Direction.DIRECTION_INGRESS
      : (event.flags & EventFlag.EVENT_F_INGRESS) !== 0
  return ingress ? 'ingress' : 'egress'
}

function serviceOf(event: FlowEvent, names: Names): string | undefined {
  if (event.servicePort === 0) return undefined
  const found = names.service(event.service, event.servicePort, event.protocol)
  if (found !== undefined) return `${found.namespace}/${found.service}:${found.port}`
  return `${formatAddress(event.service)}:${event.servicePort}`
}

function end(address: Uint8Array, port: number, peer: Peer): FlowEnd {
  const { identity, namespace, pod, workload } = peer
  // A connect that was refused never had a source address.
  const text = address.some(Boolean) ? formatAddress(address) : ''
  return { address: text, port, identity, namespace, pod, workload }
}

/** Name of the process, as the kernel had it. */
export function commOf({ comm }: Pick<FlowEvent, 'comm'>): string {
  const length = comm.indexOf(0)
  return Buffer.from(comm.subarray(0, length < 0 ? comm.length : length)).toString()
}
