// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { tarGzip } from '../../src/sysdump/tar.ts'

t.test('the system reads it back: empty, odd and long', async (t) => {
  const long = `${'folder/'.repeat(20)}file.txt`
  const entries = [
    { path: 'a/empty', text: '' },
    { path: 'a/block', text: 'x'.repeat(512) },
    { path: long, text: 'grüße\n' },
  ]
  const input = tarGzip(entries, Date.parse('2026-01-02T03:04:05Z'))
  const list = spawnSync('tar', ['tzf', '-'], { input, encoding: 'utf8' })
  t.same(list, { ...list, status: 0, stdout: `a/empty\na/block\n${long}\n` })
  const one = spawnSync('tar', ['xzOf', '-', long], { input, encoding: 'utf8' })
  t.equal(one.stdout, 'grüße\n')
  t.throws(() => tarGzip([{ path: 'x'.repeat(101), text: '' }], 0), RangeError)
})
