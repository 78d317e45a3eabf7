// SPDX-License-Identifier: Apache-2.0
// One delta on its way, whatever happens meanwhile; what was refused is not offered again at once.
import {
  bucketOf,
  contractVersion,
  emptyResources,
  Role,
  summarize,
  type Delta,
  type Resources,
  type Summary,
} from '@pillion/contract'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ViewBuckets } from '../../src/publish/buckets.ts'
import { History, Session } from '../../src/publish/session.ts'
import { deltaLimits, Turns } from '../../src/publish/turns.ts'

function view(...names: string[]): Resources {
  return {
    ...emptyResources(),
    rule: new Map(names.map((text) => [text, { id: 1, text }])),
  }
}

function start(t: Test, nackRetryMs = 60_000, turns = new Turns()) {
  const sent: Delta[] = []
  /** Of each delta, what says that it has left. */
  const taken: (() => void)[] = []
  const history = new History()
  let latest = { version: 1, view: view('a') }
  const open = (resumeVersion = 0, resumeEpoch = '', summary?: Summary) => {
    const session = new Session({
      hello: {
        node: 'n',
        role: Role.AGENT,
        softwareVersion: '0',
        contractVersion,
        resumeVersion,
        resumeEpoch,
        mapLayout: '',
        summary,
        degraded: [],
      },
      epoch: 'e',
      history,
      nackRetryMs,
      buckets: new ViewBuckets(),
      turns,
      latest: () => latest,
      write: (delta, onTaken) => {
        sent.push(delta)
        taken.push(onTaken)
      },
      onChange: () => undefined,
    })
    t.teardown(() => session.close())
    session.offer()
    return session
  }
  const session = open()
  const publish = (...names: string[]): void => {
    latest = { version: latest.version + 1, view: view(...names) }
    session.offer()
  }
  const ack = (version: number, error = ''): void =>
    session.ack({ version, error, resources: [] })
  return { sent, taken, session, publish, ack, open }
}

const summary = ({ version, full, upserts, removals }: Delta) => [
  version,
  full,
  upserts.map(({ name }) => name),
  removals.map(({ name }) => name),
]

t.test(
  'changes while a delta is unacknowledged become one delta to the newest view',
  async (t) => {
    const { sent, session, publish, ack } = start(t)
    publish('a', 'b')
    publish('a', 'c')
    publish('d')
    t.same(sent.map(summary), [[1, true, ['a'], []]])
    ack(1)
    t.same(sent.slice(1).map(summary), [[4, false, ['d'], ['a']]])
    ack(3)
    t.equal(
      session.current,
      false,
      'an answer to what was never asked counts for nothing',
    )
    ack(4)
    t.equal(session.current, true)
  },
)

t.test('after a refusal the next delta starts from what is in force', async (t) => {
  const { sent, session, publish, ack } = start(t)
  ack(1)
  publish('a', 'bad')
  ack(2, 'no')
  t.match(session.refused, { version: 2, reason: 'no' })
  publish('a', 'bad')
  t.equal(sent.length, 2, 'the same is not offered again')
  publish('a', 'good')
  t.same(sent.slice(2).map(summary), [[4, false, ['good'], []]])
  ack(4)
  t.equal(session.refused, undefined)
})

t.test('a refused first delta is followed by a full one', async (t) => {
  const { sent, publish, ack } = start(t)
  ack(1, 'no')
  publish('b')
  t.same(sent.slice(1).map(summary), [[2, true, ['b'], []]])
})

t.test('going back to what is in force ends a refusal without a delta', async (t) => {
  const { sent, session, publish, ack } = start(t)
  ack(1)
  publish('bad')
  ack(2, 'no')
  publish('a')
  t.equal(sent.length, 2)
  t.equal(session.refused, undefined)
  t.equal(session.current, true)
})

t.test('a refusal is tried again after a while: its cause may have passed', async (t) => {
  const { sent, ack } = start(t, 1)
  ack(1, 'no room')
  const deadline = Date.now() + 5000
  while (sent.length < 2 && Date.now() < deadline) await sleep(1)
  t.same(sent.slice(1).map(summary), [[1, true, ['a'], []]])
})

t.test('a stream resumes at a version that was sent, acknowledged or not', async (t) => {
  const { sent, publish, ack, open } = start(t)
  ack(1)
  publish('b')
  open(2, 'e')
  t.equal(sent.length, 2, 'nothing is missing: only the acknowledgement was lost')
  open(1, 'e')
  t.same(sent.slice(2).map(summary), [[2, false, ['b'], ['a']]])
  open(1, 'other')
  t.equal(sent[3]?.full, true)
})

t.test('a summary starts from what the client holds', async (t) => {
  const { sent, publish, open } = start(t)
  publish('a', 'b')
  const same = open(7, 'other', summarize(view('a', 'b')))
  t.equal(same.start, 'summary')
  t.match(sent[1], { version: 2, epoch: 'e', full: false, replaced: [] })
  t.same(sent.slice(1).map(summary), [[2, false, [], []]], 'it learns the version')
  same.ack({ version: 2, error: '', resources: [] })
  t.equal(same.current, true)
  publish('a', 'b', 'c')
  same.offer()
  t.same(sent.slice(2).map(summary), [[3, false, ['c'], []]], 'then as anybody')
  open(7, 'other', summarize(view('a', 'old')))
  t.same(sent.slice(3).map(summary), [[3, false, ['b', 'c'], []]])
  const replaced = new Set(['b', 'c', 'old'].map(bucketOf))
  t.same(new Set(sent[3]?.replaced[0]?.buckets), replaced)
})

t.test('a refusal after a summary goes on from what the client holds', async (t) => {
  const { sent, publish, open } = start(t)
  publish('bad')
  const session = open(7, 'other', summarize(view('a')))
  session.ack({ version: 2, error: 'no', resources: [] })
  t.equal(sent.length, 2)
  publish('a', 'good')
  session.offer()
  t.same(sent.slice(2).map(summary), [[3, false, ['good'], []]])
  session.ack({ version: 3, error: '', resources: [] })
  t.equal(session.current, true)
})

t.test('a known version needs no summary, an unreadable one is as none', async (t) => {
  const { sent, ack, open } = start(t)
  ack(1)
  t.equal(open(1, 'e', summarize(view('lie'))).start, 'version')
  t.equal(sent.length, 1)
  const other = { ...summarize(view('a')), buckets: 2048 }
  t.equal(open(1, 'other', other).start, 'nothing')
  t.same(sent.slice(1).map(summary), [[1, true, ['a'], []]])
})

const many = Array.from({ length: deltaLimits.smallResources + 1 }, (_, n) => `r${n}`)

t.test('large deltas take turns; who waits gets what is then the newest', async (t) => {
  const turns = new Turns(1)
  const { sent, taken, session, publish, ack, open } = start(t, 60_000, turns)
  ack(1)
  publish(...many)
  t.equal(sent.length, 2)
  const second = open()
  const third = open()
  const fourth = open()
  t.same([sent.length, turns.taken, turns.waiting], [2, 1, 3])
  publish(...many, 'more')
  second.offer()
  t.equal(sent.length, 2, 'nobody passes')
  third.close()
  taken[1]?.()
  taken[1]?.()
  await nextTurn()
  t.same([sent.length, sent[2]?.version, sent[2]?.upserts.length], [3, 3, 1002])
  t.same([turns.taken, turns.waiting], [1, 1])
  ack(2)
  t.same(
    sent.slice(3).map(summary),
    [[3, false, ['more'], []]],
    'a small one does not wait',
  )
  t.equal(session.acked?.version, 2)
  second.ack({ version: 3, error: '', resources: [] })
  await nextTurn()
  t.equal(sent[4]?.full, true, 'an acknowledgement says as well that it was taken')
  fourth.close()
  t.same([turns.taken, turns.waiting], [0, 0])
})

t.test('a turn that is no longer needed is given on', async (t) => {
  const turns = new Turns(1)
  const { sent, publish, ack, session } = start(t, 60_000, turns)
  ack(1)
  const other = turns.take(() => undefined)
  publish(...many)
  publish('a')
  t.equal(sent.length, 1)
  other.release()
  await nextTurn()
  t.equal(sent.length, 1)
  t.equal(session.current, true)
  t.equal(turns.taken, 0)
})
