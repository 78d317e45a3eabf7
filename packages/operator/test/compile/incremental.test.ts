// SPDX-License-Identifier: Apache-2.0
// A compile that looks only at what changed must give what a compile of everything gives, whatever changed before.
import fc from 'fast-check'
import t from 'tap'
import { parseObject, type ApiKind, type ApiObject } from '../../src/api/object.ts'
import { compile, emptyPools, type Compiled } from '../../src/compile/compile.ts'
import { ObjectIndex } from '../../src/index/objects.ts'

const versions: Readonly<Record<string, string>> = {
  Node: 'v1',
  Pod: 'v1',
  Service: 'v1',
  EndpointSlice: 'discovery.k8s.io/v1',
  NetworkPolicy: 'networking.k8s.io/v1',
  L7Service: 'mesh.pillion.dev/v1alpha1',
}

function object(
  kind: ApiKind,
  name: string,
  rest: object,
  metadata: object = {},
): ApiObject {
  const apiVersion = versions[kind] ?? 'v1'
  const namespace = kind === 'Node' ? {} : { namespace: 'shop' }
  const raw = { apiVersion, kind, metadata: { name, ...namespace, ...metadata }, ...rest }
  const { object, errors } = parseObject(kind, raw, 'test')
  if (object === undefined) throw new Error(JSON.stringify(errors))
  return object
}

const few = fc.nat(3)
/** Few addresses, so that pods fight for them. */
const anyIp = fc.constantFrom('10.244.1.1', '10.244.1.2', '10.244.1.3', '10.0.0.1')
const anyPod = fc
  .record({
    n: few,
    app: few,
    ip: anyIp,
    node: few,
    port: fc.constantFrom(8080, 8081),
    phase: fc.constantFrom('Running', 'Running', 'Succeeded'),
    leaving: fc.boolean(),
    host: fc.boolean(),
    hash: few,
  })
  .map(({ n, app, ip, node, port, phase, leaving, host, hash }) =>
    object(
      'Pod',
      `pod-${n}`,
      {
        spec: {
          nodeName: `node-${node}`,
          hostNetwork: host,
          containers: [{ ports: [{ name: 'http', containerPort: port }] }],
        },
        status: { phase, podIPs: [{ ip }] },
      },
      {
        uid: `uid-${n}`,
        labels: { app: `app-${app}`, 'pod-template-hash': `h${hash}` },
        creationTimestamp: `2026-01-01T00:00:0${n}Z`,
        ...(leaving ? { deletionTimestamp: '2026-01-02T00:00:00Z' } : {}),
      },
    ),
  )
const anyService = fc
  .record({
    n: few,
    port: fc.constantFrom(80, 81),
    external: fc.boolean(),
    traffic: fc.constantFrom(
      {},
      { externalIPs: ['198.51.100.7'], sessionAffinity: 'ClientIP' },
      { externalIPs: ['198.51.100.7', '10.96.0.1'] },
      { externalIPs: ['10.96.0.2'] },
      { internalTrafficPolicy: 'Local', type: 'NodePort' },
    ),
  })
  .map(({ n, port, external, traffic }) =>
    object('Service', `svc-${n}`, {
      spec: external
        ? { type: 'ExternalName', externalName: 'example.org' }
        : {
            clusterIP: `10.96.0.${n + 1}`,
            ports: [{ name: 'http', port, nodePort: 30_000 + n }],
            ...traffic,
          },
    }),
  )
const anySlice = fc
  .record({
    n: few,
    service: few,
    pods: fc.array(fc.tuple(few, anyIp, fc.constantFrom('', 'a', 'b')), {
      maxLength: 3,
    }),
  })
  .map(({ n, service, pods }) =>
    object(
      'EndpointSlice',
      `slice-${n}`,
      {
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080 }],
        endpoints: pods.map(([pod, ip, zone], i) => ({
          addresses: [ip],
          ...(zone === '' ? {} : { zone, hints: { forZones: [{ name: zone }] } }),
          ...(i === 0 ? {} : { targetRef: { kind: 'Pod', name: `pod-${pod}` } }),
        })),
      },
      { labels: { 'kubernetes.io/service-name': `svc-${service}` } },
    ),
  )
const anyNode = fc
  .record({ n: few, ip: anyIp, zone: fc.constantFrom('a', 'b') })
  .map(({ n, ip, zone }) =>
    object(
      'Node',
      `node-${n}`,
      { status: { addresses: [{ type: 'InternalIP', address: ip }] } },
      { labels: { 'topology.kubernetes.io/zone': zone } },
    ),
  )
const anyBlock = fc.constantFrom(
  { cidr: '10.244.0.0/16', except: ['10.244.1.2/32'] },
  { cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] },
  { cidr: '10.0.0.1/32' },
  { cidr: '::/0' },
)
const anyPolicy = fc
  .record({
    n: few,
    key: fc.constantFrom('app', 'pod-template-hash'),
    named: fc.boolean(),
    block: fc.option(anyBlock),
    mode: fc.constantFrom('Enforce', 'Shadow', 'enforce'),
  })
  .map(({ n, key, named, block, mode }) =>
    object(
      'NetworkPolicy',
      `policy-${n}`,
      {
        spec: {
          podSelector: { matchExpressions: [{ key, operator: 'Exists' }] },
          ingress: [
            {
              ports: [{ port: named ? 'http' : 8080 }],
              ...(block === null ? {} : { from: [{ ipBlock: block }] }),
            },
          ],
        },
      },
      { annotations: { 'mesh.pillion.dev/mode': mode } },
    ),
  )
const anyL7 = fc
  .record({ n: few, protocol: fc.constantFrom('http', 'grpc') })
  .map(({ n, protocol }) =>
    object('L7Service', `l7-${n}`, {
      spec: { targetRef: { name: `svc-${n}` }, protocol },
    }),
  )
const anyObject = fc.oneof(
  anyPod,
  anyPod,
  anyService,
  anySlice,
  anySlice,
  anyNode,
  anyPolicy,
  anyL7,
)
const anyChange = fc.record({
  upserts: fc.array(anyObject, { maxLength: 4 }),
  removals: fc.array(
    fc
      .tuple(
        fc.constantFrom(
          'Pod/shop/pod',
          'Service/shop/svc',
          'EndpointSlice/shop/slice',
          'Node//node',
          'NetworkPolicy/shop/policy',
          'L7Service/shop/l7',
        ),
        few,
      )
      .map(([key, n]) => `${key}-${n}`),
    { maxLength: 2 },
  ),
})

/** Every table as plain values. */
function tables(compiled: Compiled): Record<string, unknown> {
  const { workloads, services, policies, routes } = compiled
  const plain = (map: Iterable<readonly [string, unknown]>) => new Map([...map].sort())
  return {
    identities: plain(workloads.identities),
    addresses: plain(workloads.addresses),
    own: plain([...workloads.ownAddresses].map(([node, own]) => [node, plain(own)])),
    byNode: plain(
      [...workloads.workloadsByNode]
        .filter(([, pods]) => pods.size > 0)
        .map(([node, pods]) => [node, plain(pods)]),
    ),
    namedPorts: plain(workloads.namedPorts),
    nodes: plain(compiled.nodes),
    servicePorts: plain(services.servicePorts),
    endpoints: plain(services.endpoints),
    endpointsOf: plain(
      [...services.endpointsOf].map(([name, map]) => [name, plain(map)]),
    ),
    subjects: plain(policies.subjects),
    rules: plain(policies.rules),
    routes: plain(routes.tables),
    proxyEndpoints: plain(compiled.proxyEndpoints),
    proxyServicePorts: plain(compiled.proxyServicePorts),
    conditions: plain(compiled.conditions),
  }
}

t.test('step by step is the same as at once', (t) => {
  fc.assert(
    fc.property(fc.array(anyChange, { minLength: 1, maxLength: 10 }), (changes) => {
      const index = new ObjectIndex()
      let compiled: Compiled | undefined
      for (const change of changes) {
        const dirty = index.apply({ ...change, errors: [] })
        const pools = compiled?.pools ?? emptyPools()
        compiled = compile(index.snapshot(), pools, compiled, dirty)
        t.same(tables(compiled), tables(compile(index.snapshot(), compiled.pools)))
      }
    }),
    { numRuns: 300 },
  )
  t.end()
})
