// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { fromThread } from '../../src/extension/from-thread.ts'

const answer = { status: 403, headers: ['x-a', '1'], body: 'no', grpcStatus: 7 }
const done = { type: 'done', seq: 1, edits: ['set', 'x-a', '1'], answer }
const log = { type: 'log', level: 'warn', text: 'a', dropped: 0 }

t.test('each message of a thread is one', (t) => {
  for (const message of [
    done,
    { ...done, edits: [], answer: undefined },
    { type: 'failed', seq: 1, error: 'why' },
    { type: 'pong' },
    log,
    { type: 'ready', hooks: ['request', 'response'] },
    { type: 'broken', error: 'why' },
  ])
    t.equal(fromThread(message), message)
  t.end()
})

t.test('anything else is not', (t) => {
  for (const data of [
    ...[undefined, null, 1, 'pong', [], {}, new Map([['type', 'pong']])],
    { type: 'hello' },
    { type: { toString: 1 } },
    { type: 'done', seq: 1 },
    { ...done, seq: '1' },
    { ...done, edits: 'set' },
    { ...done, edits: ['set', 'x-a'] },
    { ...done, edits: ['set', 'x-a', 1] },
    { ...done, edits: Array.from({ length: 65 * 3 }, () => 'x') },
    { ...done, answer: null },
    { ...done, answer: {} },
    { ...done, answer: { ...answer, status: 99 } },
    { ...done, answer: { ...answer, headers: ['x-a'] } },
    { ...done, answer: { ...answer, headers: {} } },
    { ...done, answer: { ...answer, body: Buffer.from('no') } },
    { ...done, answer: { ...answer, grpcStatus: 17 } },
    { type: 'failed', seq: 1, error: new Error('why') },
    { type: 'failed', error: 'why' },
    { ...log, level: 'fatal' },
    { ...log, level: ['warn'] },
    { ...log, text: {} },
    { ...log, dropped: undefined },
    { type: 'ready' },
    { type: 'ready', hooks: 1 },
    { type: 'ready', hooks: ['body'] },
    { type: 'broken' },
  ])
    t.equal(fromThread(data), undefined, JSON.stringify(data) ?? 'undefined')
  t.end()
})
