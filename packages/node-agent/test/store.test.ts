// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { AgentError } from '../src/errors.ts'
import { Store } from '../src/store.ts'
import { resourcesOf, shop, workload } from './support/resources.ts'

function makeDir(t: { teardown: (fn: () => unknown) => unknown }): string {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-store-'))
  t.teardown(() => {
    rmSync(dir, { recursive: true })
  })
  return dir
}
const fail = (error: unknown): never => {
  throw error as Error
}

t.test('what was saved is loaded, also in several chunks', async (t) => {
  const dir = makeDir(t)
  const store = new Store(dir, 0, fail)
  t.equal(store.load(), undefined)
  const many = Array.from({ length: 1234 }, (_, i) => workload(`p-${i}`, 300, '10.0.0.1'))
  const resources = resourcesOf([...shop, ...many])
  store.save(resources)
  await store.flush()
  t.same(new Store(dir, 0, fail).load(), resources)
  t.same(readdirSync(dir), ['resources.pb'], 'no temporary file is left')
})

t.test('a burst is saved once, the last one wins', async (t) => {
  const store = new Store(makeDir(t), 3_600_000, fail)
  store.save(resourcesOf(shop))
  store.save(resourcesOf([]))
  await store.flush()
  t.same(store.load(), resourcesOf([]))
})

t.test('saving rests for longer than it worked', async (t) => {
  const dir = makeDir(t)
  const store = new Store(dir, 0, fail)
  const many = Array.from({ length: 5000 }, (_, i) => workload(`p-${i}`, 300, '10.0.0.1'))
  store.save(resourcesOf(many))
  const started = performance.now()
  await store.flush()
  const ended = performance.now()
  store.save(resourcesOf(shop))
  const held = () => new Store(dir, 0, fail).load()?.workload.size ?? 0
  while (held() === many.length) await new Promise((resolve) => setTimeout(resolve, 5))
  t.ok(performance.now() - ended > 4 * (ended - started))
})

t.test('a damaged file is said so', async (t) => {
  const dir = makeDir(t)
  const store = new Store(dir, 0, fail)
  store.save(resourcesOf(shop))
  await store.flush()
  truncateSync(join(dir, 'resources.pb'), 100)
  t.throws(() => store.load(), { name: 'AgentError', code: 'STATE' })
  t.ok(AgentError)
})

t.test('what cannot be written is reported, and the next one is tried', async (t) => {
  const dir = join(makeDir(t), 'state')
  const errors: unknown[] = []
  const store = new Store(dir, 0, (error) => errors.push(error))
  rmSync(dir, { recursive: true })
  writeFileSync(dir, '')
  store.save(resourcesOf(shop))
  await store.flush()
  t.equal(errors.length, 1)
})
