// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Beside the truth table: what must pass under default deny, requests that go through the proxy, and the words of a denial.
import t from 'tap'
import { pillion } from '../support/lab.ts'
import type { KubeObject } from '../../packages/lab/src/index.ts'
import { namespaces as inNamespace, nameOf, policy, port } from './support/behaviour.ts'
import { Cluster, ninePods, type Desired } from './support/cluster.ts'
import { probe } from './support/table.ts'

const namespaces = Object.fromEntries(['x', 'y', 'z'].map((name) => [name, { ns: name }]))
const calm: Desired = { namespaces, pods: ninePods, policies: [] }
const cluster = await Cluster.up(calm)
t.teardown(() => cluster.down())

t.test('readiness probes pass under default deny', async (t) => {
  const d = { namespace: 'x', name: 'd', labels: { pod: 'd' } }
  // Waits for x/d to be ready: by a TCP probe of its node.
  await cluster.apply({
    ...calm,
    pods: [...ninePods, d],
    policies: [policy({ selects: {}, ingress: [], egress: [] })],
  })
  const { wrong, denied } = await probe(
    cluster,
    (from, to) => from.namespace !== 'x' && to.namespace !== 'x',
  )
  t.same(wrong.slice(0, 5), [])
  t.ok(denied > 100, 'and nobody else reaches it')
})

const declared = (namespace: string, name: string): KubeObject =>
  ({
    ...{ apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'L7Service' },
    metadata: { namespace, name },
    spec: { targetRef: { name }, protocol: 'http' },
  }) as KubeObject

t.test("through the proxy, a pod meets the target's policy as itself", async (t) => {
  // x/a shares its node with x and y, z/a with z: whoever asks, one of them is on another node.
  const targets = ['x/a', 'z/a']
  const l7 = ['x', 'z'].map((namespace) => declared(namespace, `s-${namespace}-a`))
  const answers = async (): Promise<Map<string, string>> => {
    const found = new Map<string, string>()
    for (const from of cluster.pods) {
      const to = cluster.pods.filter((pod) => targets.includes(nameOf(pod)))
      const got = await cluster.ask(
        from,
        to.map((pod) => ['HTTP', pod.clusterIP, 80] as const),
      )
      to.forEach((pod, i) => found.set(`${nameOf(from)} -> ${nameOf(pod)}`, got[i] ?? ''))
    }
    return found
  }
  const all = (wanted: (from: string, to: string) => string) =>
    new Map(
      cluster.pods.flatMap((from) =>
        targets.map((to) => [`${nameOf(from)} -> ${to}`, wanted(nameOf(from), to)]),
      ),
    )
  await cluster.apply({ ...calm, more: l7 })
  t.same(
    await answers(),
    all(() => '200 proxy'),
    'without a policy',
  )

  const onlyY = { ingress: [{ from: [inNamespace({ ns: 'y' })] }] }
  const policies = ['x', 'z'].map((namespace) => policy({ namespace, ...onlyY }))
  await cluster.apply({ ...calm, more: l7, policies })
  t.same(
    await answers(),
    all((from) => (from.startsWith('y/') ? '200 proxy' : '403')),
    'ingress from y alone, on the same node and on another',
  )

  const egress = [policy({ namespace: 'y', selects: {}, egress: [] })]
  await cluster.apply({ ...calm, more: l7, policies: egress })
  t.same(
    [...(await answers())].filter(
      ([way, got]) => way.startsWith('y/') && got === '200 proxy',
    ),
    [],
    'nor does the proxy carry what egress of the source forbids',
  )
})

t.test('a denial says which rule almost allowed it', async (t) => {
  const rule = { from: [inNamespace({ ns: 'y' })], ports: [port(80)] }
  await cluster.apply({ ...calm, policies: [policy({ ingress: [rule] })] })
  const nearest = async (from: string, to: string): Promise<unknown> => {
    const { out } = await pillion(['explain', from, to, '-o', 'json'])
    return (JSON.parse(out) as { nearest?: string }).nearest
  }
  t.equal(
    await nearest('y/b', 'x/a:81'),
    'NetworkPolicy x/p ingress[0] allows this peer on TCP port 80, not 81',
  )
  t.equal(
    await nearest('x/b', 'x/a:80'),
    'NetworkPolicy x/p ingress[0] allows TCP port 80, but only from pods of y',
  )
  t.equal(await nearest('y/b', 'x/a:80'), undefined, 'allowed')

  const [from, to] = ['z/b', 'x/a'].map((name) =>
    cluster.pods.find((pod) => nameOf(pod) === name),
  )
  if (from === undefined || to === undefined) throw new Error('no such pod')
  t.same(await cluster.ask(from, [['TCP', to.address, 80]]), ['X'])
  const { out } = await pillion(['flows', '--node', 'node-2', '-o', 'json'])
  const last = out
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; nearest?: string })
    .findLast(({ kind }) => kind === 'deny')
  t.match(last, { nearest: /allows TCP port 80, but only from pods of y/ })
})
