// SPDX-License-Identifier: Apache-2.0
// The agent as a process, on the real kernel, with the operator away. Root only.
import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Preflight } from '@pillion/ebpf-l4'
import t, { type Test } from 'tap'
import {
  AgentProcess,
  cleanUp,
  makePlace,
  save,
  until,
  type Place,
} from './support/agent.ts'
import { resourcesOf, shop, workload } from './support/resources.ts'

interface ListedPod {
  readonly uid: string
  readonly cgroupId: string
}

const skip = process.getuid?.() === 0 ? false : 'needs root: loads BPF programs'

t.test('starts from what was saved, follows pods, survives kill -9', { skip }, lifecycle)
t.test('a preflight beside an agent knows its programs', { skip }, askPreflight)
t.test('a second agent is refused', { skip }, secondAgent)
t.test('what does not fit is reported and the maps are as before', { skip }, mapFull)

async function lifecycle(t: Test): Promise<void> {
  const place = makePlace()
  await save(place, resourcesOf(shop))
  let agent = new AgentProcess(place)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  t.same(await agent.json('/debug/diff'), [], 'the maps hold what is wanted')
  t.same(await agent.json('/debug/workloads'), [], 'no cgroup, no pod')

  const pod = join(place.cgroupRoot, 'kubepods/poduid-web-1')
  const listed = async (): Promise<ListedPod[]> => agent.json('/debug/workloads')
  const made = performance.now()
  mkdirSync(pod)
  await until(async () => (await listed()).length === 1)
  t.ok(performance.now() - made < 500, 'found by notification, not by rescan')
  t.match((await listed())[0], {
    ...{ uid: 'uid-web-1', namespace: 'shop', name: 'web-1', identity: 300, cgroup: pod },
    addresses: ['10.244.1.2'],
  })
  t.same(await agent.json('/debug/diff'), [])

  await agent.stop('SIGKILL')
  agent = new AgentProcess(place)
  await agent.ready()
  t.same(await agent.json('/debug/diff'), [], 'a successor agrees with the maps')
  rmdirSync(pod)
  await until(async () => (await listed()).length === 0)

  const { text } = await agent.get('/metrics')
  t.match(text, /^pillion_bpf_map_entries\{map="pl_services"[^}]*\} 2$/m)
  t.match(text, /^pillion_datapath_events_total\{event="connect_translated"/m)
  t.equal(await agent.stop(), 0, 'SIGTERM: exit code 0')
}

async function askPreflight(t: Test): Promise<void> {
  const place = makePlace()
  await save(place, resourcesOf(shop))
  const agent = new AgentProcess(place)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  const answer = await agent.json<Preflight>('/debug/preflight')
  t.match(answer, { fit: true })
  t.match(
    answer.lines.find(({ what }) => what === 'hooks'),
    { ok: true, found: 'nobody else is on ours' },
  )
  t.equal((await agent.get('/readyz')).status, 200)
  const features = await agent.json<{ name: string; state: string }[]>('/debug/features')
  t.match(
    features.find(({ name }) => name === 'l7'),
    { state: 'works' },
  )
}

async function secondAgent(t: Test): Promise<void> {
  const place = makePlace()
  await save(place, resourcesOf(shop))
  const first = new AgentProcess(place)
  t.teardown(async () => {
    await first.stop('SIGKILL')
    cleanUp(place)
  })
  await first.ready()
  const second = new AgentProcess(place)
  t.teardown(() => second.stop('SIGKILL'))
  t.equal(await second.exited(), 1)
  t.match(second.output, /driven by another agent \(process \d+\)/)
  t.equal((await first.get('/readyz')).status, 200, 'the first one keeps its socket')
}

/** pl_cgroups has room for 4096 entries. */
async function mapFull(t: Test): Promise<void> {
  const { Datapath } = await import('@pillion/ebpf-l4')
  const { Reconciler } = await import('../src/reconcile.ts')
  const place = makePlace()
  const proxyCgroup = join(place.cgroupRoot, 'proxy')
  mkdirSync(proxyCgroup)
  const kernel = await Datapath.open({
    objectDir: join(import.meta.dirname, '../../../bpf/.output'),
    pinDir: place.pinDir,
    cgroupRoot: place.cgroupRoot,
    proxyCgroup,
  })
  t.teardown(() => {
    kernel.close()
    cleanUp(place)
  })
  const uids = Array.from({ length: 5000 }, (_, i) => `uid-p${i}`)
  const cgroups = new Map(uids.map((uid, i) => [uid, { id: BigInt(i + 100_000) }]))
  const context = {
    ...{ node: 'node-1', cgroups, nodeCgroupId: 1n },
    ...{ kubepodsCgroupIds: [], proxyCgroupId: undefined },
  }
  const reconciler = new Reconciler({
    kernel,
    context: () => context,
    proxy: { proxyPort: 0 },
    onApplied: () => undefined,
  })
  const good = resourcesOf(shop)
  reconciler.update(good)
  const before = kernel.tables()
  const many = uids.map((_, i) => workload(`p${i}`, 300, '10.244.9.9'))
  t.throws(() => {
    reconciler.update(resourcesOf([...shop, ...many]))
  }, /MAP_FULL|full/)
  t.same(kernel.tables(), before)
  t.equal(reconciler.resources, good)
}
