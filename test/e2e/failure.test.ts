// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// kill -9 of each process of the mesh, under load.
import t from 'tap'
import {
  debug,
  kill9,
  load,
  manifests,
  must,
  pidsOf,
  pillion,
  sleep,
  until,
} from '../support/lab.ts'

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', manifests, '--nodes', '2'], 180_000)
})
t.teardown(() => pillion(['lab', 'down']))

const ready = (node: string): Promise<boolean> =>
  debug(node, '/debug/workloads').then(
    () => true,
    () => false,
  )

t.test('the agent costs no request', async (t) => {
  const loads = await Promise.all([
    load('client-1', 'http://web/', 'new'),
    load('client-1', 'http://web/', 'keep'),
    load('client-1', 'http://http/', 'new'),
    load('client-1', 'http://http/', 'keep'),
  ])
  for (let i = 0; i < 3; i++) {
    t.ok((await kill9('node-agent/src/main.ts --node node-1 ')) > 0)
    await sleep(700)
    await until('the agent is back', () => ready('node-1'), 15_000)
  }
  for (const running of loads) {
    const { ok, errors } = await running.stop()
    t.ok(ok > 100, `${ok} requests`)
    t.same(errors, {})
  }
  t.same(await debug('node-1', '/debug/diff'), [])
})

t.test('the operator costs no request', async (t) => {
  const loads = await Promise.all([
    load('client-1', 'http://web/', 'new'),
    load('client-1', 'http://http/', 'keep'),
  ])
  t.ok((await kill9('operator/src/main.ts')) > 0)
  await sleep(2000)
  for (const running of loads) {
    const { ok, errors } = await running.stop()
    t.ok(ok > 100, `${ok} requests`)
    t.same(errors, {})
  }
  await until(
    'status says that all is well again',
    async () => (await pillion(['status'])).code === 0,
    20_000,
  )
})

t.test(
  'the proxy costs its requests in flight; new connections go on in the failure mode',
  async (t) => {
    const concurrency = 4
    const l4 = await load('client-1', 'http://web/', 'new')
    const fresh = await load('client-1', 'http://http/', 'new', concurrency)
    const kept = await load('client-1', 'http://http/', 'keep', concurrency)
    await sleep(500)
    const kills = 3
    for (let i = 0; i < kills; i++) {
      t.ok((await kill9('node-l7-proxy/src/main.ts --node node-1 ')) > 0)
      await sleep(2500)
    }
    const plain = await l4.stop()
    t.same(plain.errors, {}, 'L4 flows: no error')
    for (const [name, running] of Object.entries({ fresh, kept })) {
      const { ok, errors, maxGapMs } = await running.stop()
      const failed = Object.values(errors).reduce((sum, n) => sum + n, 0)
      t.ok(ok > 100, `${name}: ${ok} requests`)
      // Each of them twice at most: who comes back at once may still meet the socket of a process that is dying.
      t.ok(
        failed <= kills * concurrency * 2,
        `${name}: ${failed} failed: ${JSON.stringify(errors)}`,
      )
      t.ok(maxGapMs <= 500, `${name}: longest time without success ${maxGapMs} ms`)
    }
  },
)

t.test('the replacement of a proxy costs no request', async (t) => {
  const proxies = async (): Promise<string> =>
    String(await pidsOf('node-l7-proxy/src/main.ts --node node-1 '))
  const loads = await Promise.all([
    load('client-1', 'http://http/', 'new'),
    load('client-1', 'http://http/', 'keep'),
  ])
  for (const gap of [[], ['--gap'], []]) {
    const before = await proxies()
    await must(['lab', 'replace', 'node-1', ...gap], 60_000)
    t.not(await proxies(), before, `another one serves ${gap.join('')}`)
  }
  for (const running of loads) {
    const { ok, errors } = await running.stop()
    t.ok(ok > 100, `${ok} requests`)
    t.same(errors, {})
  }
  await until(
    'status knows the new proxy and not the old ones',
    async () => (await pillion(['status'])).code === 0,
    10_000,
  )
})
