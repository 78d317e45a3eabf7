// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { endpointSlices, type PodView } from '../../src/object/endpoints.ts'
import type { ServiceObject } from '../../src/types.ts'

function view(name: string, state: Partial<PodView> = {}, port = 8080): PodView {
  return {
    pod: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'n',
        uid: `uid-${name}`,
        labels: { app: 'a', x: 'y' },
      },
      spec: { containers: [{ ports: [{ name: 'http', containerPort: port }] }] },
    },
    node: 'node-1',
    addresses: ['10.244.1.2', 'fd00:10:244:1::2'],
    ready: true,
    terminating: false,
    ...state,
  }
}

function service(spec: ServiceObject['spec']): ServiceObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's', namespace: 'n' },
    spec,
  }
}

t.test('a slice for each family, with conditions, target and node', async (t) => {
  const slices = endpointSlices(
    service({ selector: { app: 'a' }, ports: [{ port: 80, targetPort: 'http' }] }),
    [view('one'), view('two', { ready: false }), view('three', { terminating: true })],
  )
  t.same(
    slices.map(({ metadata, ...rest }) => [metadata.name, rest['addressType']]),
    [
      ['s-ipv4', 'IPv4'],
      ['s-ipv6', 'IPv6'],
    ],
  )
  t.match(slices[0], {
    metadata: { labels: { 'kubernetes.io/service-name': 's' } },
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: [
      {
        addresses: ['10.244.1.2'],
        conditions: { ready: true, serving: true, terminating: false },
        targetRef: { kind: 'Pod', name: 'one', namespace: 'n', uid: 'uid-one' },
        nodeName: 'node-1',
      },
      { conditions: { ready: false, serving: false, terminating: false } },
      { conditions: { ready: false, serving: true, terminating: true } },
    ],
  })
})

t.test('a named port that differs between pods makes slices of its own', async (t) => {
  const slices = endpointSlices(
    service({ selector: { app: 'a' }, ports: [{ port: 80, targetPort: 'http' }] }),
    [view('one'), view('two', {}, 9090)],
  )
  t.same(
    slices.map(({ metadata, ...rest }) => [metadata.name, rest['ports']]),
    [
      ['s-ipv4', [{ name: '', port: 8080, protocol: 'TCP' }]],
      ['s-ipv6', [{ name: '', port: 8080, protocol: 'TCP' }]],
      ['s-ipv4-1', [{ name: '', port: 9090, protocol: 'TCP' }]],
      ['s-ipv6-1', [{ name: '', port: 9090, protocol: 'TCP' }]],
    ],
  )
})

t.test('selectors: all labels, same namespace, none selects nothing', async (t) => {
  const ports = [{ port: 80 }]
  t.same(
    endpointSlices(service({ selector: { app: 'a', z: '1' }, ports }), [view('one')]),
    [],
  )
  t.same(endpointSlices(service({ ports }), [view('one')]), [])
  const other = view('one')
  other.pod.metadata.namespace = 'other'
  t.same(endpointSlices(service({ selector: { app: 'a' }, ports }), [other]), [])
})

t.test('publishNotReadyAddresses', async (t) => {
  const spec = {
    selector: { app: 'a' },
    ports: [{ port: 80 }],
    publishNotReadyAddresses: true,
  }
  const [slice] = endpointSlices(service(spec), [view('one', { ready: false })])
  t.match(slice, { endpoints: [{ conditions: { ready: true, serving: false } }] })
})

t.test('the zone of the node, and hints as the service asks for them', async (t) => {
  const ports = [{ port: 80 }]
  const views = [
    view('one', { zone: 'a' }),
    view('two', { node: 'node-2', zone: 'b' }),
    view('three', { ready: false, zone: 'a' }),
    view('four'),
  ]
  const endpoints = (trafficDistribution?: string) => {
    const more = trafficDistribution === undefined ? {} : { trafficDistribution }
    const spec = { selector: { app: 'a' }, ports, ...more }
    const [slice] = endpointSlices(service(spec), views)
    const all = slice?.['endpoints'] as { zone?: string; hints?: unknown }[]
    return all.map(({ zone, hints }) => [zone, hints])
  }
  const none = undefined
  t.same(endpoints(), [
    ['a', none],
    ['b', none],
    ['a', none],
    [none, none],
  ])
  const zone = (name: string) => ({ forZones: [{ name }] })
  for (const close of ['PreferClose', 'PreferSameZone']) {
    t.same(endpoints(close), [
      ['a', zone('a')],
      ['b', zone('b')],
      ['a', none],
      [none, none],
    ])
  }
  const node = (name: string) => ({ forNodes: [{ name }] })
  t.same(endpoints('PreferSameNode'), [
    ['a', { ...zone('a'), ...node('node-1') }],
    ['b', { ...zone('b'), ...node('node-2') }],
    ['a', none],
    [none, node('node-1')],
  ])
})

t.test('a pod of a headless service has the name that it asks for', async (t) => {
  const named = view('web-0')
  Object.assign(named.pod.spec, { hostname: 'web-0', subdomain: 's' })
  const elsewhere = view('web-1')
  Object.assign(elsewhere.pod.spec, { hostname: 'web-1', subdomain: 'other' })
  const spec = { clusterIP: 'None', selector: { app: 'a' }, ports: [{ port: 80 }] }
  const [slice] = endpointSlices(service(spec), [named, elsewhere])
  const endpoints = slice?.['endpoints'] as { hostname?: string }[]
  t.same(
    endpoints.map(({ hostname }) => hostname),
    ['web-0', undefined],
  )
})
