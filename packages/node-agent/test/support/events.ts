// SPDX-License-Identifier: Apache-2.0
import { parseAddress } from '@pillion/contract'
import {
  EventKind,
  EventRecords,
  flowEventLayout,
  type FlowEvent,
} from '@pillion/ebpf-l4'

const zero: FlowEvent = flowEventLayout.read(Buffer.alloc(flowEventLayout.size))

/** web-1 connected to api through its service, unless `rest` says otherwise. */
export function flowEvent(rest: Partial<FlowEvent> = {}): FlowEvent {
  return {
    ...zero,
    kind: EventKind.EVENT_OPEN,
    protocol: 6,
    src: parseAddress('10.244.1.2'),
    srcPort: 40_000,
    srcIdentity: 300,
    dst: parseAddress('10.244.2.3'),
    dstPort: 8080,
    dstIdentity: 301,
    service: parseAddress('10.96.0.7'),
    servicePort: 80,
    ...rest,
  }
}

/** As the ring buffer gives them. */
export function recordsOf(...events: FlowEvent[]): EventRecords {
  return new EventRecords(Buffer.concat(events.map((e) => flowEventLayout.write(e))))
}
