// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { emptyPools } from '../../src/compile/compile.ts'
import { allocate } from '../../src/compile/pool.ts'
import type { ObjectStatus } from '../../src/status/conditions.ts'
import { NumberStore } from '../../src/status/state.ts'
import { StatusWriter } from '../../src/status/writer.ts'

const object = (status: 'True' | 'False', message = 'm'): ObjectStatus => ({
  kind: 'HTTPRoute',
  namespace: 'shop',
  name: 'web',
  observedGeneration: 3,
  conditions: [{ type: 'Accepted', status, reason: 'R', message }],
  parents: [],
})
const summary = (...objects: ObjectStatus[]) => ({
  version: 1,
  objects,
  errors: [],
  subscribers: [],
})
const file = 'shop/HTTPRoute.web.yaml'

t.test('times last while the status lasts, also over a restart', async (t) => {
  const dir = t.testdir()
  let now = 0
  const clock = () => new Date(++now * 1000)
  const text = () => readFileSync(join(dir, file), 'utf8')
  const writer = new StatusWriter(dir, clock)
  writer.write(summary(object('True')))
  t.match(text(), /lastTransitionTime: 1970-01-01T00:00:01.000Z/)
  t.match(text(), /observedGeneration: 3/)
  const { ino } = statSync(join(dir, file))
  writer.write(summary(object('True')))
  t.equal(statSync(join(dir, file)).ino, ino, 'not written again')
  const restarted = new StatusWriter(dir, clock)
  restarted.write(summary(object('True', 'other words')))
  t.match(text(), /other words[^]*00:00:01.000Z/)
  restarted.write(summary(object('False')))
  t.match(text(), /00:00:02.000Z/)
  restarted.write(summary())
  t.notOk(existsSync(join(dir, file)))
})

t.test('files of an earlier run go when their object is gone', async (t) => {
  const dir = t.testdir()
  mkdirSync(join(dir, 'old'))
  writeFileSync(join(dir, 'old/Mesh.x.yaml'), 'not: [yaml')
  new StatusWriter(dir).write(summary())
  t.notOk(existsSync(join(dir, 'old/Mesh.x.yaml')))
  t.ok(existsSync(join(dir, 'STATUS.yaml')))
})

t.test('numbers survive; a file that cannot be read stops the start', async (t) => {
  const dir = t.testdir()
  const pools = emptyPools()
  const saved = { ...pools, identities: allocate(pools.identities, new Set(['a', 'b'])) }
  new NumberStore(dir).save(saved)
  t.same(new NumberStore(dir).load(), saved)
  writeFileSync(join(dir, '.numbers.json'), '{')
  t.throws(() => new NumberStore(dir).load(), {
    code: 'STATE',
    message: /repair it, or remove it/,
  })
})
