// SPDX-License-Identifier: Apache-2.0
// Sockets over a UNIX socket: who is given them, and what a bad message leaves behind.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { takeOver } from '../src/handover.ts'
import { loadNative } from '../src/native.ts'

const native = loadNative()
const directory = mkdtempSync(join(tmpdir(), 'pillion-handover-'))
chmodSync(directory, 0o777)
t.teardown(() => {
  rmSync(directory, { recursive: true, force: true })
})
const descriptors = (): number => readdirSync('/proc/self/fd').length

/** receiveSockets waits in its thread, so whoever offers is another process. */
async function offered(user: string): Promise<string> {
  const path = join(directory, `${user}.sock`)
  const main = new URL('support/offer-main.ts', import.meta.url)
  const child = fork(main, [path, user])
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  return path
}

t.test('nobody there', async (t) => {
  t.equal(takeOver(native, join(directory, 'nobody.sock'), 'here'), undefined)
})

t.test('sockets are given, with what they listen on', async (t) => {
  const path = await offered('same')
  t.equal(statSync(path).mode & 0o777, 0o600)
  const predecessor = takeOver(native, path, 'here')
  t.equal(predecessor?.sockets.length, 2)
  for (const fd of predecessor?.sockets ?? []) native.closeFd(fd)
  predecessor?.leave()
  await predecessor?.gone
})

t.test('what is of no use is closed', async (t) => {
  const [same, junk] = [await offered('same'), await offered('junk')]
  const before = descriptors()
  t.throws(() => takeOver(native, same, 'elsewhere'), /listens on here, not on elsewhere/)
  t.throws(() => takeOver(native, junk, 'here'), /EPROTO|no sockets in the message/)
  t.equal(descriptors(), before)
})

t.test(
  'only the same user gives',
  { skip: process.getuid?.() !== 0 && 'needs root, to be another user' },
  async (t) => {
    const path = await offered('65534')
    t.throws(() => takeOver(native, path, 'here'), /not permitted/i)
  },
)

t.test('lengths and types are checked in C', async (t) => {
  const code = 'ERR_INVALID_ARG_TYPE'
  t.throws(() => native.receiveSockets('x'.repeat(108)), { code })
  t.throws(() => native.sendSockets(0, [], 'x'), { code })
  t.throws(
    () =>
      native.sendSockets(
        0,
        Array.from({ length: 9 }, () => 0),
        'x',
      ),
    { code },
  )
  t.throws(() => native.sendSockets(0, [0], ''), { code })
  t.throws(() => native.sendSockets(-1, [0], 'x'), { code: 'EBADF' })
})
