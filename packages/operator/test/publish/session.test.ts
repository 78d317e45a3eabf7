// SPDX-License-Identifier: Apache-2.0
// One delta on its way, whatever happens meanwhile; what was refused is not offered again at once.
import {
  contractVersion,
  emptyResources,
  Role,
  type Delta,
  type Resources,
} from '@pillion/contract'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { History, Session } from '../../src/publish/session.ts'

function view(...names: string[]): Resources {
  return {
    ...emptyResources(),
    rule: new Map(names.map((text) => [text, { id: 1, text }])),
  }
}

function start(t: Test, nackRetryMs = 60_000) {
  const sent: Delta[] = []
  const history = new History()
  let latest = { version: 1, view: view('a') }
  const open = (resumeVersion = 0, resumeEpoch = '') => {
    const session = new Session({
      hello: {
        node: 'n',
        role: Role.AGENT,
        softwareVersion: '0',
        contractVersion,
        resumeVersion,
        resumeEpoch,
        mapLayout: '',
        degraded: [],
      },
      epoch: 'e',
      history,
      nackRetryMs,
      latest: () => latest,
      write: (delta) => sent.push(delta),
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
  return { sent, session, publish, ack, open }
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
