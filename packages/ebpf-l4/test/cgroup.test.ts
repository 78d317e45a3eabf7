// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { cgroup2Mount, cgroupId, cgroupLevel } from '../src/cgroup.ts'
import { BpfError } from '../src/errors.ts'

const rest = `proc /proc proc rw,nosuid 0 0
tmpfs /run tmpfs rw 0 0
`
const hybrid = `${rest}tmpfs /sys/fs/cgroup tmpfs ro,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
`
const unified = `${rest}cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0
`
const legacy = `${rest}tmpfs /sys/fs/cgroup tmpfs ro,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
`

t.test('where cgroup v2 is mounted', async (t) => {
  t.equal(cgroup2Mount(hybrid), '/sys/fs/cgroup/unified')
  t.equal(cgroup2Mount(unified), '/sys/fs/cgroup')
  t.equal(
    cgroup2Mount(`none /mnt/v2 cgroup2 rw 0 0\n${unified}`),
    '/mnt/v2',
    'the first of several',
  )
  for (const [name, mounts] of Object.entries({
    'v1 only': legacy,
    'nothing mounted': '',
    'the name of a source is not a type': 'cgroup2 /x tmpfs rw 0 0\n',
  })) {
    t.throws(() => cgroup2Mount(mounts), BpfError, name)
    t.throws(() => cgroup2Mount(mounts), { code: 'SYSTEM', message: /mount -t cgroup2/ })
  }
})

t.test('level: directories below the mount', async (t) => {
  const cases: [path: string, mount: string, level: number][] = [
    ['/sys/fs/cgroup', '/sys/fs/cgroup', 0],
    ['/sys/fs/cgroup/', '/sys/fs/cgroup', 0],
    ['/sys/fs/cgroup/a', '/sys/fs/cgroup', 1],
    ['/sys/fs/cgroup/a/b/', '/sys/fs/cgroup', 2],
    ['/sys/fs/cgroup/unified/a/b', '/sys/fs/cgroup/unified', 2],
  ]
  for (const [path, mount, level] of cases) t.equal(cgroupLevel(path, mount), level, path)
  for (const path of ['/tmp', '/sys/fs', '/sys/fs/cgroup2/a', 'a']) {
    t.throws(
      () => cgroupLevel(path, '/sys/fs/cgroup'),
      { code: 'SYSTEM', message: new RegExp(`^${path} is not below`) },
      path,
    )
  }
})

t.test('id: the inode number', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'pillion-cgroup-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const below = join(directory, 'pod')
  mkdirSync(below)
  t.equal(cgroupId(below), statSync(below, { bigint: true }).ino)
  t.not(cgroupId(below), cgroupId(directory))
  t.throws(() => cgroupId(join(directory, 'none')), { code: 'ENOENT' })
})
