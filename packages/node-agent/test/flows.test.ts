// SPDX-License-Identifier: Apache-2.0
import { Direction, EventFlag, EventKind } from '@pillion/ebpf-l4'
import t from 'tap'
import { clockOffsetMs, FlowLog } from '../src/flows.ts'
import { Names } from '../src/names.ts'
import { flowEvent, recordsOf } from './support/events.ts'
import { resourcesOf, shop } from './support/resources.ts'

const names = new Names(resourcesOf(shop))
const one = (event: ReturnType<typeof flowEvent>) => {
  const log = new FlowLog(4)
  log.push(recordsOf(event), names, 0)
  return log.last()[0]
}

t.test('an open and its names', async (t) => {
  t.match(one(flowEvent({ flags: EventFlag.EVENT_F_ACCEL })), {
    ...{ kind: 'open', verdict: 'allow', direction: 'egress', protocol: 'TCP' },
    src: { address: '10.244.1.2', port: 40_000, identity: 300, pod: 'web-1' },
    dst: { namespace: 'shop', pod: 'api-2', workload: 'api', port: 8080 },
    ...{ service: 'shop/api:80', accelerated: true, l7: false, openConnection: false },
  })
})

t.test('a close has bytes, time and the state of the path', async (t) => {
  const event = flowEvent({
    ...{ kind: EventKind.EVENT_CLOSE, timeNs: 5_000_000n, durationNs: 1_234_567n },
    ...{ bytesSent: 10n, bytesReceived: 20n, srttUs: 150, retransmits: 2 },
    ...{ pid: 42, comm: Buffer.from('curl\0\0\0\0\0\0\0\0\0\0\0\0') },
  })
  t.match(one(event), {
    ...{ kind: 'close', time: '1970-01-01T00:00:00.005Z', durationMs: 1.235 },
    ...{ bytesSent: 10, bytesReceived: 20, rttUs: 150, retransmits: 2 },
    process: { pid: 42, comm: 'curl' },
  })
})

t.test(
  'a denied connect has no source address: its identity names the pod',
  async (t) => {
    const event = flowEvent({
      ...{ kind: EventKind.EVENT_DENY, src: Buffer.alloc(16), srcPort: 0 },
      ...{ srcIdentity: 302, rule: 2, direction: Direction.DIRECTION_INGRESS },
    })
    t.match(one(event), {
      ...{ kind: 'deny', verdict: 'deny', direction: 'ingress' },
      rule: 'NetworkPolicy shop/api (isolates)',
      nearest: /ingress\[0\] allows TCP port 8080, but only from app=web/,
      src: { address: '', namespace: 'shop', pod: 'other-1', identity: 302 },
    })
  },
)

t.test('a run that goes on by TCP, and the end of such a connection', async (t) => {
  const { EVENT_F_ACCEL, EVENT_F_SHIFTED } = EventFlag
  const shift = flowEvent({
    ...{ kind: EventKind.EVENT_SHIFT, flags: EVENT_F_ACCEL, bytesSent: 262_144n },
  })
  t.match(one(shift), { kind: 'shift', accelerated: true, bytesSent: 262_144 })
  const close = { kind: EventKind.EVENT_CLOSE, flags: EVENT_F_ACCEL | EVENT_F_SHIFTED }
  t.match(one(flowEvent(close)), { kind: 'close', shifted: true })
  t.match(one(flowEvent({ kind: EventKind.EVENT_CLOSE })), { shifted: false })
})

t.test('a deny of a policy in Shadow mode did not happen', async (t) => {
  const event = flowEvent({
    ...{ kind: EventKind.EVENT_DENY, flags: EventFlag.EVENT_F_SHADOW },
    ...{ rule: 2, direction: Direction.DIRECTION_INGRESS },
  })
  t.match(one(event), { kind: 'deny', verdict: 'allow', shadow: true })
  t.match(one(flowEvent({ kind: EventKind.EVENT_DENY })), { shadow: false })
})

t.test(
  'the ring keeps the last ones, oldest first; executables are not flows',
  async (t) => {
    const log = new FlowLog(3)
    for (let port = 1; port <= 5; port++)
      log.push(recordsOf(flowEvent({ srcPort: port })), names, 0)
    log.push(recordsOf(flowEvent({ kind: EventKind.EVENT_EXE })), names, 0)
    const ports = (count?: number) => log.last(count).map(({ src }) => src.port)
    t.same(ports(), [3, 4, 5])
    t.same(ports(2), [4, 5])
    t.same(ports(0), [])
  },
)

t.test('names are those of the time of the event', async (t) => {
  const log = new FlowLog(3)
  log.push(recordsOf(flowEvent()), names, 0)
  log.push(recordsOf(flowEvent()), new Names(resourcesOf([])), 0)
  t.same(
    log.last().map(({ src }) => src.pod),
    ['web-1', ''],
  )
})

t.test('a follower that cannot keep up loses lines, and only it', async (t) => {
  const log = new FlowLog(3)
  const got: string[] = []
  t.ok(log.follow((line) => got.push(line) > 0))
  t.ok(log.follow(() => false))
  log.push(recordsOf(flowEvent(), flowEvent()), names, 0)
  t.equal(got.length, 2)
  t.equal(log.lost, 2)
  const more = Array.from({ length: 20 }, () => log.follow(() => true))
  t.notOk(more.at(-1), 'followers are bounded')
})

t.test('monotonic time becomes the time of day', async (t) => {
  const now = Number(process.hrtime.bigint()) / 1e6 + clockOffsetMs()
  t.ok(Math.abs(now - Date.now()) < 1000)
})
