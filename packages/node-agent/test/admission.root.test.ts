// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// How soon a new pod's cgroup has its identity, on the real kernel: docs/datapath.md, "A new pod". Root only.
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Action } from '@pillion/contract'
import { cgroup2Mount } from '@pillion/ebpf-l4'
import t, { type Test } from 'tap'
import {
  AgentProcess,
  cleanUp,
  makePlace,
  save,
  until,
  type Place,
} from './support/agent.ts'
import { address, identity, of, resourcesOf, workload } from './support/resources.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root: loads BPF programs'
const run = promisify(execFile)
/** Not loopback, which nobody judges; on a loopback device, so that nothing else is in the way. */
const target = '10.244.9.77'
const helper = join(import.meta.dirname, 'support/newcomers.ts')
/** Many times what it takes; less than a kubelet needs from a pod's cgroup to its first container. */
const promisedMs = 500
const many = 1000

/** `web` may connect to that address, nobody else: who is not known yet is refused. */
const cluster = [
  identity(300, 'web'),
  identity(301, 'api'),
  address(target, 301, 'node-1', 'shop/api-1'),
  of('subjectPolicy', '301', {
    identity: 301,
    ingress: {
      isolated: true,
      isolationRule: 2,
      entries: [{ peer: 300, protocol: 6, action: Action.ALLOW, rule: 1 }],
    },
  }),
]

interface Newcomer {
  /** What the first connect met: "ok" or an errno. */
  readonly first: string
  /** From before its cgroup was made to a connect that was let through. */
  readonly ms: number
}

/** An agent that knows these pods before their cgroups exist, as an operator tells it when they are bound. */
async function agentFor(t: Test, names: readonly string[]): Promise<Place> {
  const place = makePlace()
  const pods = names.map((name) => workload(name, 300, '10.244.1.2'))
  await save(place, resourcesOf([...cluster, ...pods]))
  const agent = new AgentProcess(place)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  return place
}

async function newcomers(
  mode: 'burst' | 'each',
  pods: readonly string[],
): Promise<Newcomer[]> {
  const inside = `ip link set lo up && ip addr add ${target}/32 dev lo && exec "$@"`
  const helperArgv = [process.execPath, helper, mode, target, cgroup2Mount(), ...pods]
  const argv = ['--net', 'sh', '-c', inside, 'sh', ...helperArgv]
  const { stdout } = await run('unshare', argv, { maxBuffer: 1 << 24 })
  return JSON.parse(stdout) as Newcomer[]
}

function summary(results: readonly Newcomer[]): string {
  const early = results.filter(({ first }) => first !== 'ok').length
  const sorted = results.map(({ ms }) => ms).sort((a, b) => a - b)
  const at = (share: number): string =>
    (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1)
  return `${early} of ${results.length} first connects came too early; known after ${at(0.5)} ms (median), ${at(0.99)} (p99), ${at(1)} (max)`
}

t.test('every shape of path, every QoS class', { skip }, async (t) => {
  const shapes = [
    'kubepods/poduid-a',
    'kubepods/burstable/poduid-b',
    'kubepods/besteffort/poduid-c',
    'kubepods.slice/kubepods-poduid_d.slice',
    'kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poduid_e.slice',
    'kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poduid_f.slice',
  ]
  const place = await agentFor(t, ['a', 'b', 'c', 'd', 'e', 'f'])
  const paths = shapes.map((path) => join(place.cgroupRoot, path))
  for (const [i, { ms }] of (await newcomers('each', paths)).entries())
    t.ok(ms < promisedMs, `${shapes[i]}: ${ms.toFixed(1)} ms`)
})

for (const mode of ['each', 'burst'] as const) {
  t.test(`a thousand new pods, ${mode}`, { skip }, async (t) => {
    const names = Array.from({ length: many }, (_, i) => `web-${i}`)
    const place = await agentFor(t, names)
    const pods = names.map((name) =>
      join(place.cgroupRoot, 'kubepods/burstable', `poduid-${name}`),
    )
    const results = await newcomers(mode, pods)
    t.comment(summary(results))
    const codes = new Set(results.map(({ first }) => first))
    codes.delete('ok')
    codes.delete('EPERM')
    t.same(
      [...codes],
      [],
      'a connect that comes too early is refused as an unmanaged one',
    )
    const late = results.filter(({ ms }) => ms >= promisedMs)
    t.ok(late.length <= many / 100, `${late.length} waited ${promisedMs} ms or more`)
  })
}

t.test('egress: isolates who is known, and nobody else', { skip }, async (t) => {
  const place = makePlace()
  const isolated = of('subjectPolicy', '300', {
    identity: 300,
    egress: { isolated: true, isolationRule: 2, entries: [] },
  })
  const open = [identity(300, 'web'), identity(301, 'api'), isolated]
  const pods = [
    address(target, 301, 'node-1', 'shop/api-1'),
    workload('web', 300, target),
  ]
  await save(place, resourcesOf([...open, ...pods]))
  const agent = new AgentProcess(place)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  const known = join(place.cgroupRoot, 'kubepods/poduid-web')
  mkdirSync(known)
  await until(async () => (await agent.json<unknown[]>('/debug/workloads')).length === 1)
  const stranger = join(place.cgroupRoot, 'kubepods/poduid-stranger')
  const results = await newcomers('each', [known, stranger])
  t.same(
    results.map(({ first }) => first),
    ['EPERM', 'ok'],
  )
})

t.test('a pod that the operator has not named is unmanaged', { skip }, async (t) => {
  const place = await agentFor(t, [])
  const pod = join(place.cgroupRoot, 'kubepods/poduid-stranger')
  const [stranger] = await newcomers('each', [pod])
  t.equal(stranger?.first, 'EPERM')
  t.ok((stranger?.ms ?? 0) >= 3000, 'for as long as it is not named')
})
