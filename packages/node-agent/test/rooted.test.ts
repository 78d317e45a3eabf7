// SPDX-License-Identifier: Apache-2.0
// timeout: 30
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openIn } from '../src/rooted.ts'

async function contentOf(root: string, path: string): Promise<string> {
  const file = await openIn(root, path)
  try {
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

t.test('links are followed as the process would', async (t) => {
  const dir = t.testdir()
  const root = join(dir, 'root')
  mkdirSync(join(root, 'etc/alternatives'), { recursive: true })
  mkdirSync(join(root, 'usr/lib'), { recursive: true })
  writeFileSync(join(root, 'usr/lib/libreal.so'), 'theirs')
  writeFileSync(join(dir, 'outside'), 'ours')
  symlinkSync('/usr/lib/libreal.so', join(root, 'etc/alternatives/lib'))
  symlinkSync('/etc/alternatives/lib', join(root, 'usr/lib/lib.so'))
  symlinkSync('usr/lib', join(root, 'lib'))
  symlinkSync('../../../outside', join(root, 'usr/lib/escape'))
  symlinkSync('loop', join(root, 'loop'))
  t.equal(await contentOf(root, '/lib/lib.so'), 'theirs', 'absolute, in their root')
  t.equal(await contentOf(root, '/lib/../lib/./lib.so'), 'theirs')
  t.equal(await contentOf('', join(root, 'usr/lib/libreal.so')), 'theirs')
  await t.rejects(openIn(root, '/usr/lib/escape'), { code: 'ENOENT' })
  await t.rejects(openIn(root, '/loop'), /too many links/)
  await t.rejects(openIn(root, '/usr'), /no regular file/)
})

t.test('a FIFO holds nobody', async (t) => {
  const dir = t.testdir()
  execFileSync('mkfifo', [join(dir, 'lib.so')])
  await t.rejects(openIn(dir, '/lib.so'), /no regular file/)
})
