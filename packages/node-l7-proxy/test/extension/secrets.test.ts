// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Secrets } from '../../src/extension/secrets.ts'

t.test('files of one directory, read again after a while', async (t) => {
  const directory = t.testdir({ key: 'one', '.hidden': 'h', below: { key: 'x' } })
  const secrets = new Secrets(directory)
  const text = (name: string, nowMs: number): string =>
    Buffer.from(secrets.read(name, nowMs)).toString()
  t.equal(text('key', 0), 'one')
  writeFileSync(join(directory, 'key'), 'two')
  t.equal(text('key', 4999), 'one')
  t.equal(text('key', 5000), 'two')
  t.equal(text('.hidden', 0), 'h')
})

t.test('nothing else', async (t) => {
  const secrets = new Secrets(t.testdir({ key: 'one', below: { key: 'x' } }))
  for (const name of [
    '..',
    '.',
    '..data',
    '../key',
    'below/key',
    '',
    '/etc/passwd',
    'a\0',
  ])
    t.throws(() => secrets.read(name, 0), /not the name/, JSON.stringify(name))
  t.throws(() => secrets.read('none', 0), { code: 'ENOENT' })
  t.throws(() => new Secrets('').read('key', 0), /--filter-secrets-dir/)
})
