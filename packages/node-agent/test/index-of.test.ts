// SPDX-License-Identifier: Apache-2.0
import { VersionedMap } from '@pillion/contract'
import t from 'tap'
import { indexOf } from '../src/index-of.ts'

interface Thing {
  readonly keys: readonly string[]
}

/** The same, by a look at everything. */
const naive = (map: ReadonlyMap<string, Thing>, key: string) =>
  [...map].flatMap(([name, { keys }]) => (keys.includes(key) ? [name] : []))

t.test('follows a line of maps, and finds what a look at all finds', async (t) => {
  let looked = 0
  const index = indexOf(({ keys }: Thing) => {
    looked++
    return keys
  })
  let map = VersionedMap.empty<Thing>()
  const versions = [map]
  for (let i = 0; i < 400; i++) {
    const name = `n${(i * 37) % 90}`
    const gone = i % 5 === 0 && map.has(name)
    const keys = [`k${i % 7}`, `k${i % 3}`]
    map = map.apply(new Map([[name, gone ? undefined : { keys: [...new Set(keys)] }]]))
    versions.push(map)
    if (i % 3 !== 0) continue
    for (const key of ['k0', 'k3', 'k6', 'none'])
      t.same([...index(map)(key)].sort(), naive(map, key).sort())
  }
  const old = versions[100] ?? map
  t.same([...index(old)('k3')].sort(), naive(old, 'k3').sort(), 'an older map, too')

  looked = 0
  index(map)
  map = map.apply(new Map([['n1', { keys: ['k9'] }]]))
  t.same(index(map)('k9'), ['n1'])
  t.ok(looked < 2 * map.size, 'not all of it twice')
  looked = 0
  map = map.apply(new Map([['n2', { keys: ['k9'] }]]))
  t.same([...index(map)('k9')].sort(), ['n1', 'n2'])
  t.ok(looked <= 2, `${looked} looks for one change`)
})

t.test('a plain map is looked at whole', async (t) => {
  const index = indexOf(({ keys }: Thing) => keys)
  const map = new Map([['a', { keys: ['x'] }]])
  t.same(index(map)('x'), ['a'])
  t.same(index(map)('y'), [])
})
