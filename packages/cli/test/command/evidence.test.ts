// SPDX-License-Identifier: Apache-2.0
// explain and flows of a cluster: against the API server stand-in, with exec that runs.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startCluster, type Answerer, type TestCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

const deadlineMs = 20_000

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + deadlineMs
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not in ${deadlineMs} ms: ${what}`)
    await sleep(20)
  }
}

const flow = (time: string, pod: string) => ({
  ...{ time, kind: 'open', verdict: 'allow', protocol: 'TCP', service: 'shop/db:5432' },
  src: { address: '10.0.0.1', port: 40_000, namespace: 'shop', pod },
  dst: { address: '10.0.0.2', port: 5432, namespace: 'shop', pod: 'db-0' },
})
const ndjson = (...lines: object[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('')

const asked = (to: string, more = {}): string =>
  `/debug/explain?${new URLSearchParams({ from: 'shop/web-a-1', to, ...more }).toString()}`
const explanation = {
  verdict: 'deny',
  gear: 0,
  steps: [{ what: 'ingress policy', result: 'denied: EPERM' }],
  rule: 'NetworkPolicy shop/db',
}
/** Carried by the proxy; the kernel allows it only by the number of judged callers. */
const byProxy = {
  ...{ gear: 3, steps: [], source: 300, targets: [{ identity: 301, port: 8080 }] },
}
const l7Policy = {
  identity: 301,
  ...{ isolation: 'AccessPolicy shop/api', shadowIsolation: '', providers: [] },
  rules: [
    {
      ...{ text: 'AccessPolicy shop/api rules[0]', deny: false, shadow: false },
      ...{ peers: [300], ports: [] },
      http: [
        {
          ...{ methods: ['GET'], paths: [{ value: '/items', prefix: true }] },
          ...{ headers: [], claims: [], providers: [] },
        },
      ],
    },
  ],
}
const question: Answerer = (res) => {
  res.statusCode = 400
  res.end('{"error":"shop/db has no port 1, only 5432"}\n')
}

async function pod(
  cluster: TestCluster,
  name: string,
  address: string,
  node?: string,
): Promise<void> {
  const spec = { containers: [{ name: 'c', image: 'x' }] }
  await cluster.create(
    '/api/v1/namespaces/shop/pods',
    {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
      spec: { ...spec, ...(node === undefined ? {} : { nodeName: node }) },
    },
    { phase: 'Running', podIPs: [{ ip: address }] },
  )
}

/** Two nodes; what the first answers to followers is the test's. */
async function withMesh(onFollow: Answerer): Promise<TestCluster> {
  const cluster = await startCluster()
  const [early, late] = ['2026-01-01T00:00:01.000Z', '2026-01-01T00:00:02.000Z']
  await cluster.pod('mesh-1', 'pillion-node', 'node-1', {
    agent: {
      '/debug/flows?': ndjson(flow(late, 'web-a-1')),
      '/debug/flows?last=1': ndjson(flow(late, 'web-a-1')),
      '/debug/flows?follow=1': onFollow,
      [asked('shop/db:5432')]: explanation,
      [asked('10.9.9.9:53')]: { ...explanation, verdict: 'allow' },
      [asked('shop/db:1')]: question,
      [asked('10.9.9.9:80')]: { ...byProxy, verdict: 'deny' },
      [asked('10.9.9.9:80', { judged: '301' })]: { ...byProxy, verdict: 'allow' },
    },
    proxy: {},
  })
  await cluster.pod('mesh-2', 'pillion-node', 'node-2', {
    agent: { '/debug/flows?': ndjson(flow(early, 'client')) },
    proxy: {},
  })
  await cluster.pod('operator-0', 'pillion-operator', 'node-1', {
    operator: {
      '/debug/config?node=node-1&role=proxy': {
        ...{ version: 1, resources: { l7Policy: { 301: l7Policy } } },
      },
    },
  })
  await cluster.create('/api/v1/namespaces', {
    ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  })
  await cluster.create('/api/v1/namespaces/shop/services', {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'db' } },
    spec: { ports: [{ port: 5432 }] },
  })
  await pod(cluster, 'web-a-1', '10.0.0.1', 'node-1')
  await pod(cluster, 'lonely', '10.0.0.7', 'node-9')
  await pod(cluster, 'pending', '10.0.0.8')
  return cluster
}

const notInstalled = {
  code: 3,
  err: /no pod of the mesh runs in namespace default of context test; install it/,
}

async function explains(t: Test, cluster: TestCluster): Promise<void> {
  const byName = await cluster.pillion('explain', 'shop/web', 'shop/db:5432')
  t.match(byName, {
    code: 0,
    out: /denied at connect \(EPERM\)\nrule: NetworkPolicy shop\/db/,
  })
  const byAddress = await cluster.pillionJson('explain', '10.0.0.1', '10.9.9.9:53')
  t.match(byAddress, { node: 'node-1', from: 'shop/web-a-1', verdict: 'allow' })
  const guarded = ['shop/web', '10.9.9.9:80']
  const listed = await cluster.pillion('explain', ...guarded)
  t.match(listed.out, /^allowed, carried by the proxy/m, 'as who was judged')
  t.match(listed.out, /allow +GET \/items\* +AccessPolicy shop\/api rules\[0\]/)
  const request = ['explain', '--header', 'X-A: b', ...guarded, '--path', '/items/1']
  t.match(await cluster.pillion(...request), { out: /GET \/items\/1 goes on/ })
  t.match(await cluster.pillionJson(...request, '--method', 'PUT'), {
    requests: [{ identity: 301, answer: { status: 403, by: 'AccessPolicy shop/api' } }],
  })
  const wrong = await cluster.pillion('explain', 'shop/web', 'shop/db:1')
  t.match(wrong, { code: 1, err: /^error: shop\/db has no port 1, only 5432$/m })
  const nobody = await cluster.pillion('explain', 'shop/nobody', 'shop/db:5432')
  t.match(nobody, { code: 1, err: /there is no pod shop\/nobody/ })
  const outside = await cluster.pillion('explain', 'shop/lonely', 'shop/db:5432')
  t.match(outside, {
    code: 1,
    err: /"node-9" runs no pod of the mesh; these have: node-1/,
  })
  const unbound = await cluster.pillion('explain', 'shop/pending', 'shop/db:5432')
  t.match(unbound, { code: 1, err: /pod shop\/pending is on no node yet/ })
  t.match(await cluster.pillion('explain', 'shop/web', 'shop/db:x'), { code: 2 })
  const away = ['explain', 'shop/web', 'shop/db:5432', '-n', 'default']
  t.match(await cluster.pillion(...away), notInstalled)
}

async function lists(t: Test, cluster: TestCluster): Promise<void> {
  const all = await cluster.pillion('flows')
  t.match(all, {
    code: 0,
    out: /node-2 .*client:40000 → shop\/db-0:5432[^]*node-1 /,
    err: '',
  })
  const one = await cluster.pillion(
    'flows',
    '--node',
    'node-1',
    '-o',
    'json',
    '--last',
    '1',
  )
  t.match(JSON.parse(one.out), { node: 'node-1', service: 'shop/db:5432' })
  const part = await cluster.pillion('flows', '--last', '1')
  t.match(part, { code: 1, out: /node-1/, err: /agent in pod .*mesh-2.*HTTP 404/ })
  const unknown = await cluster.pillion('flows', '--node', 'node-9')
  t.match(unknown, { code: 1, err: /has no node "node-9"; it has node-1, node-2/ })
  t.match(await cluster.pillion('flows', '--last', 'x'), { code: 2, err: /whole number/ })
  for (const args of [['flows'], ['diff', 'node-1'], ['config', 'services', 'node-1']])
    t.match(await cluster.pillion(...args, '-n', 'default'), notInstalled, args.join(' '))
}

t.test('explain and flows of a cluster', async (t) => {
  const cluster = await withMesh((res) => res.flushHeaders())
  t.teardown(() => cluster.close())
  await t.test('explain', (t) => explains(t, cluster))
  await t.test('flows of the past, of all nodes, in their order', (t) =>
    lists(t, cluster),
  )
})

t.test('flows are followed until interrupted; nothing is left in the pod', async (t) => {
  let write: ((text: string) => void) | undefined
  const cluster = await withMesh((res) => {
    res.flushHeaders()
    write = (text) => void res.write(text)
  })
  t.teardown(() => cluster.close())
  const follower = cluster.pillionStart('flows', '-f', '--node', 'node-1')
  await until('asked', () => write !== undefined)
  write?.(ndjson(flow('2026-01-01T00:00:03.000Z', 'web-a-1')))
  await until('the first', () => follower.out().includes('00:00:03.000'))
  write?.(ndjson(flow('2026-01-01T00:00:04.000Z', 'web-a-1')))
  await until('the second', () => follower.out().includes('00:00:04.000'))
  t.equal(cluster.kubelet.running.size, 1)
  t.match(await follower.interrupt(), { code: 0, err: '' })
  await until('no process is left', () => cluster.kubelet.running.size === 0)
})

t.test('a follower hears that the agent is gone', async (t) => {
  const cluster = await withMesh((res) => {
    res.flushHeaders()
    setTimeout(() => res.destroy(), 50)
  })
  t.teardown(() => cluster.close())
  const { code, err } = await cluster.pillion('flows', '-f', '--node', 'node-1')
  t.equal(code, 1)
  t.match(err, /agent in pod pillion-system\/mesh-1 does not answer/)
})
