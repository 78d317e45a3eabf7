// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import t from 'tap'
import { OverlayMap, rememberedVersions, VersionedMap } from '../src/versioned-map.ts'

const names = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const step = fc.record({
  sets: fc.array(fc.tuple(names, fc.nat(3)), { maxLength: 4 }),
  removals: fc.array(names, { maxLength: 2 }),
})

t.test('derivations hold what a plain map holds, and know their differences', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.nat(), (steps, pick) => {
      const plain = new Map<string, number>()
      const versions = [VersionedMap.empty<number>()]
      const contents = [new Map(plain)]
      for (const { sets, removals } of steps) {
        for (const name of removals) plain.delete(name)
        for (const [name, value] of sets) plain.set(name, value)
        const last = versions.at(-1) ?? VersionedMap.empty()
        versions.push(last.with(sets, removals))
        contents.push(new Map(plain))
      }
      const newest = versions.at(-1)
      const at = pick % versions.length
      const [older, olderContent] = [versions[at], contents[at]]
      if (newest === undefined || older === undefined || olderContent === undefined)
        return
      t.same(new Map(newest), plain)
      t.same(new Map(older), olderContent, 'an older map stays what it was')
      const changed = newest.changedSince(older)
      for (const name of new Set([...plain.keys(), ...olderContent.keys()])) {
        if (plain.get(name) !== olderContent.get(name)) t.ok(changed?.has(name), name)
      }
    }),
  )
  t.end()
})

t.test('a big map holds what a plain one holds, however its changes are kept', (t) => {
  const plain = new Map(Array.from({ length: 1000 }, (_, i) => [`n${i}`, i]))
  let map = VersionedMap.of(plain)
  const first = map
  const start = new Map(plain)
  // A fifth of the map and more is changed, some at a time: it is copied on the way.
  for (let i = 0; i < 60; i++) {
    const changes = new Map<string, number | undefined>()
    for (let j = 0; j < 7; j++) {
      const name = `n${(i * 131 + j * 17) % 1200}`
      const value = (i + j) % 3 === 0 ? undefined : i
      changes.set(name, value)
      if (value === undefined) plain.delete(name)
      else plain.set(name, value)
    }
    map = map.apply(changes)
    t.equal(map.size, plain.size)
  }
  t.same(new Map(map), plain)
  t.same(new Set(map.keys()), new Set(plain.keys()))
  t.same(new Map(first), start)
  t.end()
})

t.test('what says the same is the same map', (t) => {
  const map = VersionedMap.empty<{ n: number }>().with([['a', { n: 1 }]])
  t.equal(map.with([['a', { n: 1 }]]), map)
  t.equal(map.with([], ['b']), map)
  t.end()
})

t.test('a difference too old, or to another line, is not known', (t) => {
  const first = VersionedMap.empty<number>().with([['a', 0]])
  let last = first
  for (let i = 1; i <= rememberedVersions; i++) last = last.with([['a', i]])
  t.same(last.changedSince(first), new Set(['a']))
  last = last.with([['a', -1]])
  t.equal(last.changedSince(first), undefined)
  const branch = first.with([['b', 1]])
  t.equal(branch.changedSince(last), undefined)
  t.equal(last.changedSince(branch), undefined)
  t.end()
})

t.test('an overlay shows few values in another way', (t) => {
  const base = VersionedMap.empty<number>().with([
    ['a', 1],
    ['b', 2],
  ])
  const overrides = new Map([
    ['b', 20],
    ['z', 26],
  ])
  const seen = new OverlayMap(base, overrides)
  t.same([...seen], [['a', 1], ['b', 20]]) // prettier-ignore
  t.same([...seen.values()], [1, 20])
  t.equal(seen.get('z'), undefined, 'what the base lacks is not seen')
  t.equal(seen.size, 2)
  const next = new OverlayMap(base.with([['a', 5]]), overrides)
  t.same(next.changedSince(seen), new Set(['a']))
  const other = new OverlayMap(base, new Map([['a', 9]]))
  t.same(other.changedSince(seen), new Set(['a', 'b', 'z']))
  t.equal(next.changedSince(base), undefined)
  t.end()
})
