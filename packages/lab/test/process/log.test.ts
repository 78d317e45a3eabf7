// SPDX-License-Identifier: Apache-2.0
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { rotateLogs, tail } from '../../src/process/log.ts'

t.test('a full log is rotated under its writer', async (t) => {
  const dir = t.testdir({ 'a.log': '', 'b.log': 'small\n' })
  const file = join(dir, 'a.log')
  const writer = openSync(file, 'a')
  writeSync(writer, 'x'.repeat(2000) + '\n')
  rotateLogs(dir, 1000)
  t.equal(statSync(file).size, 0)
  t.equal(statSync(`${file}.1`).size, 2001)
  writeSync(writer, 'after\n')
  closeSync(writer)
  t.equal(readFileSync(file, 'utf8'), 'after\n', 'the writer goes on at the new end')
  t.equal(readFileSync(join(dir, 'b.log'), 'utf8'), 'small\n')
})

t.test('tail', async (t) => {
  const file = join(t.testdir({}), 'a.log')
  t.same(tail(file, 2), [], 'a missing file has no lines')
  appendFileSync(file, 'one\ntwo\n\nthree\n')
  t.same(tail(file, 2), ['two', 'three'])
})
