// SPDX-License-Identifier: Apache-2.0
// The addon is C in our process: whatever it is given, it throws and the process lives on.
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cgroup2Mount } from '../src/cgroup.ts'
import { flowEventLayout, workloadLayout } from '../src/gen/layout.ts'
import { KernelMap } from '../src/kernel-map.ts'
import { native } from '../src/native.ts'
import type { Handle, Native } from '../src/native.ts'
import { Direction, EventKind, removePins, tableKey } from '../src/index.ts'
import { Host } from './support/host.ts'

const host = await Host.create(['client'])
t.teardown(() => host.close())

/** The addon as plain JavaScript sees it. */
const raw = native as unknown as Record<keyof Native, (...args: unknown[]) => unknown>
const objectPath = join(import.meta.dirname, '../../../bpf/.output/connect.bpf.o')
const pins = `/sys/fs/bpf/pillion-test-native-${process.pid}`
mkdirSync(pins)
t.teardown(() => removePins(pins))

const object = native.objectOpen(objectPath, pins)
t.equal(
  native.objectSetVariable(object, 'config_cgroup_level', Buffer.alloc(4)),
  true,
  'a variable of the object',
)
const arguments_: TypeErrors = {
  objectOpen: [objectPath, pins],
  objectSetVariable: [object, 'config_cgroup_level', Buffer.alloc(4)],
  objectPrograms: [object],
  objectOmit: [object, 'pl_connect4'],
  hasHelper: ['set_retval'],
  objectLoad: [object],
  objectProgramFd: [object, 'pl_connect4'],
  objectClose: [object],
  linkCreate: [1, 1, 1],
  linkUpdate: [1, 1],
  linkInfo: [1],
  progAttach: [1, 1, 1],
  progQuery: [1, 1, 1],
  progById: [1],
  progInfo: [1],
  pin: [1, 'path'],
  getPinned: ['path'],
  closeFd: [1],
  openDirectory: ['path'],
  lockFile: [1],
  mapInfo: [1],
  mapLookup: [1, Buffer.alloc(4), Buffer.alloc(4)],
  mapUpdate: [1, Buffer.alloc(4), Buffer.alloc(4)],
  mapDelete: [1, Buffer.alloc(4)],
  mapHolds: [1],
  mapDump: [1],
  ringbufOpen: [1, 1],
  ringbufConsume: ['a handle', Buffer.alloc(4)],
  ringbufClose: ['a handle'],
}
type TypeErrors = { readonly [name in Exclude<keyof Native, 'enableStats'>]: unknown[] }

const wrong: unknown[] = [undefined, null, true, {}, [], Symbol('s'), 1n, () => 1]
/** Numbers that are no descriptor, though JavaScript would make one of them. */
const noIntegers = [Number.NaN, Infinity, -Infinity, 1.5, 2 ** 31, 2 ** 32 + 1]

const failed = (errno: number) => ({ code: 'ERR_BPF', errno })
const typeError = { code: 'ERR_ARGUMENTS' }

t.test('too few arguments, and arguments of other types', async (t) => {
  for (const [name, good] of Object.entries(arguments_)) {
    const call = raw[name as keyof Native]
    for (let count = 0; count < good.length; count++) {
      const message = 'too few arguments'
      t.throws(() => call(...good.slice(0, count)), { ...typeError, message }, name)
    }
    good.forEach((value, i) => {
      const others = typeof value === 'number' ? [...wrong, ...noIntegers] : [...wrong, 1]
      for (const other of [
        ...others,
        typeof value === 'string' ? Buffer.alloc(1) : 'x',
      ]) {
        const bad = good.with(i, other)
        // A wrong handle is found before whatever comes after it.
        t.throws(
          () => call(...bad),
          typeError,
          `${name}, argument ${i}: ${String(other)}`,
        )
      }
    })
  }
})

t.test('a path or name that is too long, or with a NUL', async (t) => {
  const long = 'x'.repeat(5000)
  t.throws(() => native.objectOpen(long, pins), typeError)
  t.throws(() => native.objectOpen(objectPath, long), typeError)
  t.throws(() => native.getPinned(long), typeError)
  t.throws(() => native.objectSetVariable(object, long, Buffer.alloc(4)), typeError)
})

t.test('objects: missing file, missing program, wrong size, twice, closed', async (t) => {
  t.throws(() => native.objectOpen('/nonexistent.bpf.o', pins), failed(2))
  t.throws(() => native.objectOpen('/dev/null', pins), { code: 'ERR_BPF' }, 'not an ELF')
  t.throws(() => native.objectOpen(import.meta.filename, pins), { code: 'ERR_BPF' })

  const set = (name: string, size: number): boolean =>
    native.objectSetVariable(object, name, Buffer.alloc(size))
  t.equal(set('no_such_variable', 4), false)
  for (const size of [0, 3, 8]) {
    t.throws(() => set('config_cgroup_level', size), { code: 'ERR_LENGTH' })
  }
  t.throws(() => native.objectProgramFd(object, 'pl_connect4'), failed(2), 'not loaded')
  t.ok(native.objectPrograms(object).includes('pl_connect4'))
  t.throws(() => native.objectOmit(object, 'no_such_program'), failed(2))
  native.objectOmit(object, 'pl_sendmsg4')
  native.objectLoad(object)
  t.throws(() => native.objectProgramFd(object, 'pl_sendmsg4'), failed(2), 'left out')
  t.throws(() => native.objectOmit(object, 'pl_connect4'), failed(22), 'loaded')
  t.ok(native.objectProgramFd(object, 'pl_connect4') > 2)
  t.throws(() => native.objectProgramFd(object, 'no_such_program'), failed(2))
  t.throws(() => set('config_cgroup_level', 4), failed(16), 'too late')
  t.throws(() => native.objectLoad(object), failed(22), 'loaded twice')

  const closed = native.objectOpen(objectPath, pins)
  native.objectClose(closed)
  native.objectClose(closed)
  t.throws(() => native.objectPrograms(closed), typeError)
  t.throws(() => native.objectOmit(closed, 'pl_connect4'), typeError)
  t.throws(() => native.objectLoad(closed), { message: 'the object is closed' })
  t.throws(() => native.objectProgramFd(closed, 'pl_connect4'), typeError)
  t.throws(
    () => native.objectSetVariable(closed, 'config_cgroup_level', Buffer.alloc(4)),
    typeError,
  )
})

t.test('a handle of the other kind', async (t) => {
  const events = native.getPinned(join(pins, 'pl_events'))
  const ring = native.ringbufOpen(events, 160)
  const asObject = ring as unknown as Handle<'object'>
  const asRing = object as unknown as Handle<'ring'>
  t.throws(() => native.objectClose(asObject), typeError)
  t.throws(() => native.objectLoad(asObject), typeError)
  t.throws(() => native.objectProgramFd(asObject, 'x'), typeError)
  t.throws(() => native.ringbufConsume(asRing, Buffer.alloc(160)), typeError)
  t.throws(() => native.ringbufClose(asRing), typeError)
  native.ringbufClose(ring)
  native.ringbufClose(ring)
  t.throws(() => native.ringbufConsume(ring, Buffer.alloc(160)), { code: 'ERR_LENGTH' })
  for (const size of [0, -1]) {
    t.throws(() => native.ringbufOpen(events, size), { code: 'ERR_LENGTH' })
  }
  native.closeFd(events)
})

t.test('descriptors that are no map, no program, no link', async (t) => {
  const file = openSync('/dev/null', 'r')
  const program = native.objectProgramFd(object, 'pl_connect4')
  const map = native.getPinned(join(pins, 'pl_rules'))
  const directory = native.openDirectory(cgroup2Mount())
  const four = Buffer.alloc(4)
  for (const [name, fd] of Object.entries({ closed: 1 << 20, negative: -1, file })) {
    t.throws(() => native.mapInfo(fd), { code: 'ERR_BPF' }, name)
    t.throws(() => native.mapLookup(fd, four, four), { code: 'ERR_BPF' }, name)
    t.throws(() => native.mapUpdate(fd, four, four), { code: 'ERR_BPF' }, name)
    t.throws(() => native.mapDelete(fd, four), { code: 'ERR_BPF' }, name)
    t.throws(() => native.mapDump(fd), { code: 'ERR_BPF' }, name)
    t.throws(() => native.ringbufOpen(fd, 160), { code: 'ERR_BPF' }, name)
    t.throws(() => native.progInfo(fd), { code: 'ERR_BPF' }, name)
    t.throws(() => native.linkInfo(fd), { code: 'ERR_BPF' }, name)
    t.throws(() => native.linkCreate(fd, directory, 10), { code: 'ERR_BPF' }, name)
    t.throws(() => native.linkUpdate(fd, program), { code: 'ERR_BPF' }, name)
    t.throws(() => native.progAttach(fd, map, 7), { code: 'ERR_BPF' }, name)
    t.throws(() => native.progQuery(fd, 10, 0), { code: 'ERR_BPF' }, name)
    t.throws(() => native.pin(fd, join(pins, 'nothing')), { code: 'ERR_BPF' }, name)
  }
  t.equal(native.hasHelper('map_lookup_elem'), true)
  t.equal(native.hasHelper('no_such_helper'), false)
  t.equal(native.progById(2 ** 31 - 1), -1, 'no such program')
  t.throws(() => native.mapLookup(program, four, four), { code: 'ERR_LENGTH' })
  t.throws(() => native.ringbufOpen(map, 160), failed(22), 'a hash is no ring buffer')
  t.throws(() => native.linkCreate(program, directory, 1000), { code: 'ERR_BPF' })
  t.throws(() => native.linkUpdate(map, program), { code: 'ERR_BPF' })
  t.throws(() => native.openDirectory('/dev/null'), failed(20))
  t.throws(() => native.openDirectory('/nonexistent'), failed(2))
  t.equal(native.getPinned(join(pins, 'nothing')), -1)
  t.throws(() => native.getPinned('/dev/null'), { code: 'ERR_BPF' })
  for (const fd of [map, directory]) native.closeFd(fd)
  closeSync(file)
})

t.test('keys and values have the sizes of the map', async (t) => {
  const map = new KernelMap('pl_cgroups', join(pins, 'pl_cgroups'))
  const { fd } = map
  const sizes = { code: 'ERR_LENGTH' }
  for (const key of [0, 7, 9, 16]) {
    t.throws(() => native.mapLookup(fd, Buffer.alloc(key), Buffer.alloc(8)), sizes)
  }
  for (const value of [0, 7, 9, 16]) {
    t.throws(() => native.mapLookup(fd, Buffer.alloc(8), Buffer.alloc(value)), sizes)
  }
  for (const [keys, values] of [
    [7, 8],
    [8, 7],
    [8, 16],
    [16, 8],
    [0, 8],
    [8, 0],
  ] as const) {
    t.throws(() => native.mapUpdate(fd, Buffer.alloc(keys), Buffer.alloc(values)), sizes)
  }
  t.throws(() => native.mapDelete(fd, Buffer.alloc(7)), sizes)
  t.equal(native.mapUpdate(fd, Buffer.alloc(0), Buffer.alloc(0)), 0)
  t.equal(native.mapDelete(fd, Buffer.alloc(0)), 0)
  t.equal(native.mapDump(fd).length, 0, 'nothing was written')
  map.close()
})

t.test('dump of an empty map, a full map, and a map that cannot be walked', async (t) => {
  const map = new KernelMap('pl_cgroups', join(pins, 'pl_cgroups'))
  t.equal(map.table().size, 0)
  const key = (n: number): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(n))
    return bytes
  }
  const entry = (n: number) =>
    [key(n), workloadLayout.write({ identity: n, proxy: 0 })] as const
  const all = Array.from({ length: map.maxEntries }, (_, n) => entry(n))
  map.setAll(all)
  t.throws(() => map.setAll([entry(map.maxEntries)]), { code: 'MAP_FULL', errno: 7 })
  t.same(map.table(), new Map(all.map(([k, value]) => [tableKey(k), value])))
  map.setAll([entry(1)])
  map.deleteAll([key(1), key(1), key(2)])
  t.equal(map.table().size, map.maxEntries - 2)
  map.deleteAll(all.map(([k]) => k))
  t.equal(map.table().size, 0)
  map.close()

  const ring = new KernelMap('pl_events', join(pins, 'pl_events'))
  t.equal(native.mapDump(ring.fd).length, 0)
  t.throws(() => ring.table(), { code: 'SYSTEM', message: /cannot be walked/ })
  ring.close()
  const counters = new KernelMap('pl_counters', join(pins, 'pl_counters'))
  t.equal(counters.table().size, counters.maxEntries, 'per CPU')
  counters.close()
})

t.test("a full caller's buffer: the rest is for the next read", async (t) => {
  const count = 23
  const client = host.pod('client')
  host.policy({ subject: client, direction: Direction.DIRECTION_EGRESS, isolated: true })
  host.apply()
  host.datapath.readEvents(4096)
  // Every refused connect has put its event in the buffer when it returns.
  const { out } = await host.call(
    client,
    async (count: number) => {
      const { connect } = await import('node:net')
      for (let i = 1; i <= count; i++) {
        const code = await new Promise((resolve) =>
          connect(i, '10.9.0.77').on('error', (error) =>
            resolve((error as NodeJS.ErrnoException).code),
          ),
        )
        if (code !== 'EPERM') throw new Error(String(code))
      }
      console.log('done')
    },
    count,
  )
  t.equal(out, 'done')
  const ports: number[] = []
  const sizes: number[] = []
  for (;;) {
    const events = host.datapath.readEvents(5).all()
    if (events.length === 0) break
    sizes.push(events.length)
    t.ok(events.every(({ kind }) => kind === EventKind.EVENT_DENY))
    ports.push(...events.map(({ dstPort }) => dstPort))
  }
  t.same(sizes, [5, 5, 5, 5, 3])
  t.same(
    ports,
    Array.from({ length: count }, (_, i) => i + 1),
    'in order, none lost, none twice',
  )
  t.throws(() => host.datapath.readEvents(0), { code: 'ERR_LENGTH' })
  t.equal(flowEventLayout.size, 160)
})
