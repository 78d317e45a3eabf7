// SPDX-License-Identifier: Apache-2.0
// Records of the ring buffer as they came.
import { flowEventLayout } from './gen/layout.ts'
import type { FlowEvent } from './gen/layout.ts'

const { size } = flowEventLayout
const zero = flowEventLayout.read(Buffer.alloc(size))
/** Where `kind` lies in a record: found, so that the struct is described in one place only. */
const kindAt = flowEventLayout.write({ ...zero, kind: 0xff }).indexOf(0xff)

/** Some events, undecoded: most are never looked at, and decoding one costs more than all else that is done with it. */
export class EventRecords {
  readonly #bytes: Buffer

  /** Takes the bytes over; whole records. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get length(): number {
    return this.#bytes.length / size
  }

  /** enum event_kind of one record. */
  kind(i: number): number {
    return this.#bytes.readUInt8(i * size + kindAt)
  }

  /** One record; byte arrays are views. Throws a RangeError beyond the last. */
  at(i: number): FlowEvent {
    return flowEventLayout.read(this.#bytes, i * size)
  }

  /** Every record, decoded. */
  all(): FlowEvent[] {
    return Array.from({ length: this.length }, (_, i) => this.at(i))
  }
}
