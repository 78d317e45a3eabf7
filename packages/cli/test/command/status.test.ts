// SPDX-License-Identifier: Apache-2.0
// status, config and diff of a cluster: against the API server stand-in, with exec that runs.
import t from 'tap'
import { startCluster, type TestCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

const resources = {
  identity: {
    a: { id: 300, namespace: 'shop', serviceAccount: 'web', labels: { app: 'web' } },
    b: { id: 301, namespace: 'shop', serviceAccount: 'db', labels: {} },
  },
  workload: { u: { identity: 300 } },
  servicePort: {
    'shop/web:80/TCP': {
      id: 7,
      addresses: ['10.96.0.10'],
      l7Protocol: 1,
      failureMode: 2,
    },
    'shop/db:5432/TCP': {
      id: 8,
      addresses: ['10.96.0.11'],
      l7Protocol: 0,
      failureMode: 0,
    },
  },
  endpoint: {
    x: { serviceId: 7, ready: true },
    y: { serviceId: 7, ready: false },
    z: { serviceId: 8, ready: true },
  },
  rule: {
    r: { id: 1, text: 'NetworkPolicy shop/db' },
    s: { id: 2, text: 'AccessPolicy shop/watched', shadow: true },
  },
  subjectPolicy: {
    s: {
      identity: 301,
      ingress: {
        isolated: true,
        isolationRule: 1,
        entries: [
          { peer: 300, protocol: 6, port: 5432, portBits: 16, action: 1, rule: 1 },
        ],
      },
      shadowIngress: {
        isolated: true,
        isolationRule: 1,
        entries: [
          { peer: 300, protocol: 6, port: 5432, portBits: 16, action: 1, rule: 1 },
          { peer: 300, protocol: 0, port: 0, portBits: 0, action: 2, rule: 2 },
        ],
      },
    },
  },
}
const routes = {
  servicePort: resources.servicePort,
  subjectPolicy: {},
  l7Policy: {
    301: {
      ...{ identity: 301, isolation: '', shadowIsolation: '', providers: [] },
      rules: [
        {
          ...{ text: 'R1', deny: false, shadow: false, peers: [300], ports: [] },
          http: [
            {
              ...{ methods: ['GET'], paths: [{ value: '/r', prefix: true }] },
              ...{ headers: [], claims: [], providers: [] },
            },
          ],
        },
      ],
    },
  },
  routeTable: {
    t: {
      serviceId: 7,
      rules: [
        {
          routeKind: 'HTTPRoute',
          routeNamespace: 'shop',
          routeName: 'canary',
          match: {
            path: { kind: 2, value: '/api' },
            method: 'GET',
            headers: [{ name: 'x-token', kind: 1, value: 'header-secret' }],
            query: [],
          },
          backends: [{ servicePort: 'shop/db:5432/TCP', serviceId: 8, weight: 1 }],
        },
      ],
    },
  },
}

const subscriber = (node: string, role: string, more: object = {}) => ({
  ...{ node, role, connected: true, current: true, ackedVersion: 9 },
  ...{ softwareVersion: '0.1.0', ...more },
})

const object = (name: string, status: string) => ({
  ...{
    kind: 'HTTPRoute',
    namespace: 'shop',
    name,
    observedGeneration: 1,
    conditions: [],
  },
  parents: [
    {
      parentRef: { group: '', kind: 'Service', name },
      conditions: [
        { type: 'Accepted', status, reason: 'R', message: 'spec.parentRefs[0]: why' },
      ],
    },
  ],
})

async function withMesh(): Promise<TestCluster> {
  const cluster = await startCluster()
  const agentAnswers = { '/debug/diff': [] as object[] }
  await cluster.pod('operator-0', 'pillion-operator', 'node-1', {
    operator: {
      '/debug/status': {
        version: 9,
        nodes: [subscriber('node-1', 'agent'), subscriber('node-1', 'proxy')],
        objects: [object('web', 'True'), object('lost', 'False')],
      },
      '/debug/config?node=node-1&role=agent': { version: 9, resources },
      '/debug/config?node=node-1&role=proxy': { version: 9, resources: routes },
    },
  })
  await cluster.pod('node-a', 'pillion-node', 'node-1', {
    agent: agentAnswers,
    proxy: {},
  })
  await cluster.create('/api/v1/namespaces', {
    ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  })
  await cluster.create('/api/v1/namespaces/shop/services', {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' } },
    spec: { ports: [{ port: 80 }] },
  })
  return cluster
}

t.test('status, config and diff of a cluster', async (t) => {
  const cluster = await withMesh()
  t.teardown(() => cluster.close())

  await t.test('status', async (t) => {
    const { code, out, err } = await cluster.pillion('status')
    t.equal(code, 0, err)
    t.match(out, /context test: configuration 9: in force on every node/)
    t.match(out, /node-1\s+ready\s+ready\s+0\.1\.0\s+9\s+up to date/)
    t.match(out, /shop\/web:80\/TCP\s+L7 proxy \(gear 3\)\s+http\s+Reject/)
    t.notMatch(out, /shop\/db/, 'the Service is not there')
    t.match(
      out,
      /as written:\n {2}HTTPRoute shop\/lost: Accepted is False, R: spec.parent/,
    )
    t.notMatch(out, /HTTPRoute shop\/web/, 'in force')
    t.ok(cluster.kubelet.execs.every((line) => line.endsWith('/bin/node')))
  })

  await t.test('config', async (t) => {
    const services = await cluster.pillion('config', 'services', 'node-1')
    t.match(
      services.out,
      /shop\/web:80\/TCP\s+10\.96\.0\.10\s+proxy \(http\)\s+Reject\s+1\/2/,
    )
    const shown = await cluster.pillion('config', 'routes', 'node-1')
    t.match(
      shown.out,
      /HTTPRoute shop\/canary\s+GET \/api\* header x-token\s+shop\/db:5432/,
    )
    t.notMatch(shown.out, /header-secret/)
    const policies = await cluster.pillion('config', 'policies', 'node-1')
    t.match(
      policies.out,
      /shop\/db \(301\)\s+ingress\s+allow\s+shop\/web \(300\)\s+5432\/TCP/,
    )
    t.match(
      policies.out,
      /ingress\s+deny\s+anyone else\s+any\s+-\s+NetworkPolicy shop\/db/,
    )
    t.match(policies.out, /shadow ingress\s+deny\s+shop\/web.*AccessPolicy shop\/watched/)
    t.equal(policies.out.match(/NetworkPolicy shop\/db/g)?.length, 2, 'not again')
    t.match(policies.out, /requests\s+allow\s+shop\/web \(300\)\s+any\s+GET \/r\*\s+R1/)
    const identities = await cluster.pillion('config', 'identities', 'node-1')
    t.match(identities.out, /300\s+shop\s+web\s+app=web\s+1\n301\s+shop\s+db\s+-\s+0/)
    const asJson = await cluster.pillionJson('config', 'services', 'node-1')
    t.match(asJson, { node: 'node-1', version: 9, servicePort: Object })
  })

  await t.test('what is asked wrongly', async (t) => {
    const unknown = await cluster.pillion('config', 'services', 'node-9')
    t.match(unknown, { code: 1, err: /has no node "node-9"; it has node-1/ })
    t.match(await cluster.pillion('config', 'things', 'node-1'), { code: 2 })
    const elsewhere = await cluster.pillion('status', '-n', 'default')
    t.match(elsewhere, { code: 3, err: /no pod of the mesh runs in namespace default/ })
    const context = await cluster.pillion('status', '--context', 'nope')
    t.match(context, { code: 3, err: /there is no context "nope"; it has test/ })
  })

  await t.test('diff', async (t) => {
    t.match(await cluster.pillion('diff', 'node-1'), {
      code: 0,
      out: /as they should be/,
    })
  })
})

t.test('what is not in force is said, and waiting ends', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  const status = {
    version: 9,
    nodes: [subscriber('node-1', 'agent'), subscriber('node-1', 'proxy')],
  }
  status.nodes[1] = { ...subscriber('node-1', 'proxy'), current: false, ackedVersion: 8 }
  await cluster.pod('operator-0', 'pillion-operator', 'node-1', {
    operator: {
      '/debug/status': status,
      '/debug/config?node=node-1&role=agent': { version: 9, resources },
    },
  })
  const difference = {
    map: 'pl_services',
    problem: 'missing',
    key: { port: 80 },
    want: 1,
  }
  await cluster.pod('node-a', 'pillion-node', 'node-1', {
    agent: { '/debug/diff': [difference] },
    proxy: {},
  })
  t.match(await cluster.pillion('status'), {
    code: 1,
    out: /not in force everywhere[^]*0\.1\.0\s+agent 9, proxy 8\s+.*acknowledged version 8 of 9/,
  })
  t.match(await cluster.pillion('status', '--wait', '--timeout', '1'), {
    code: 4,
    err: /not in 1 s: 0 of 1 nodes; .*acknowledged version 8 of 9/,
  })
  t.match(await cluster.pillion('diff', 'node-1'), {
    code: 1,
    out: /pl_services\s+missing\s+\{port:80\}\s+1\s+-/,
  })
  const waiting = cluster.pillion('status', '--wait', '--timeout', '20')
  status.nodes[1] = subscriber('node-1', 'proxy')
  t.match(await waiting, { code: 0, out: /in force on every node/ })
})
