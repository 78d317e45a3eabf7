// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { PodCgroups } from '../src/workloads.ts'
import { until } from './support/agent.ts'

/** So long that only notifications can have found it. */
const neverMs = 3_600_000

function makeRoot(t: { teardown: (fn: () => unknown) => unknown }): string {
  const root = mkdtempSync(join(tmpdir(), 'pillion-cgroups-'))
  t.teardown(() => {
    rmSync(root, { recursive: true })
  })
  return root
}

t.test(
  'pods that are there already: cgroupfs and systemd, every QoS class',
  async (t) => {
    const root = makeRoot(t)
    const paths = {
      a: 'kubepods/poda',
      b: 'kubepods/besteffort/podb',
      c: 'kubepods/burstable/podc',
      d: 'kubepods.slice/kubepods-podd.slice',
      e: 'kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pode_1.slice',
    }
    for (const path of Object.values(paths))
      mkdirSync(join(root, path), { recursive: true })
    mkdirSync(join(root, 'kubepods/poda/podinner'))
    mkdirSync(join(root, 'system/podx'), { recursive: true })
    const pods = new PodCgroups(root, neverMs, () => undefined)
    t.teardown(() => {
      pods.close()
    })
    t.same([...pods.pods.keys()].sort(), ['a', 'b', 'c', 'd', 'e-1'])
    const { ino } = statSync(join(root, paths.b), { bigint: true })
    t.same(pods.pods.get('b'), { id: ino, path: join(root, paths.b) })
    t.equal(pods.kubepodsIds.length, 2, 'both drivers')
  },
)

t.test('found and forgotten by notification, from an empty root on', async (t) => {
  const root = makeRoot(t)
  let changes = 0
  const pods = new PodCgroups(root, neverMs, () => changes++)
  t.teardown(() => {
    pods.close()
  })
  t.same(pods.kubepodsIds, [])
  mkdirSync(join(root, 'kubepods'))
  await until(() => pods.kubepodsIds.length === 1)
  mkdirSync(join(root, 'kubepods/burstable'))
  mkdirSync(join(root, 'kubepods/burstable/poda'))
  await until(() => pods.pods.has('a'))
  rmdirSync(join(root, 'kubepods/burstable/poda'))
  await until(() => !pods.pods.has('a'))
  // Another directory of the same name is another cgroup.
  mkdirSync(join(root, 'kubepods/podb'))
  await until(() => pods.pods.has('b'))
  const first = pods.pods.get('b')?.id
  mkdirSync(join(root, 'kubepods/next'))
  rmdirSync(join(root, 'kubepods/podb'))
  renameSync(join(root, 'kubepods/next'), join(root, 'kubepods/podb'))
  await until(() => pods.pods.has('b') && pods.pods.get('b')?.id !== first)
  rmSync(join(root, 'kubepods'), { recursive: true })
  await until(() => pods.pods.size === 0 && pods.kubepodsIds.length === 0)
  t.ok(changes >= 5, `${changes} changes were told`)
})

t.test("below the kubelet's cgroupRoot; what is deeper is a pod's own", async (t) => {
  const root = makeRoot(t)
  const kubepods = join(root, 'kubelet.slice/kubelet-kubepods.slice')
  const pod = join(kubepods, 'kubelet-kubepods-poda_1.slice')
  mkdirSync(join(pod, 'x.scope/kubepods/podb'), { recursive: true })
  const pods = new PodCgroups(root, neverMs, () => undefined)
  t.teardown(() => {
    pods.close()
  })
  t.same([...pods.pods.keys()], ['a-1'])
  t.same(pods.kubepodsIds, [statSync(kubepods, { bigint: true }).ino])
  mkdirSync(join(kubepods, 'kubelet-kubepods-podc.slice'))
  await until(() => pods.pods.has('c'))
  rmSync(pod, { recursive: true })
  await until(() => !pods.pods.has('a-1'))
  t.ok(pods.pods.has('c'))
})
