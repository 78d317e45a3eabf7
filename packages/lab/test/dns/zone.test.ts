// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { buildZone, lookup } from '../../src/dns/zone.ts'
import type { KubeObject, ServiceObject } from '../../src/types.ts'

function service(name: string, spec: ServiceObject['spec']): ServiceObject {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'n' }, spec }
}

function slice(name: string, addressType: string, endpoints: unknown[]): KubeObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'n', labels: { 'kubernetes.io/service-name': 'h' } },
    addressType,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints,
  }
}

const ready = { ready: true }
const zone = buildZone(
  [
    service('web', {
      clusterIP: '10.96.1.0',
      clusterIPs: ['10.96.1.0', 'fd00:10:96::101'],
      ports: [{ name: 'http', port: 80 }],
    }),
    service('h', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
    service('four', { clusterIP: '10.96.1.1', clusterIPs: ['10.96.1.1'] }),
  ],
  [
    slice('a', 'IPv4', [
      { addresses: ['10.244.1.2'], conditions: ready },
      { addresses: ['10.244.1.3'], conditions: { ready: false } },
    ]),
    slice('b', 'IPv6', [{ addresses: ['fd00:10:244:1::2'], conditions: ready }]),
  ],
)

t.test('services by cluster address', async (t) => {
  t.same(lookup(zone, 'WEB.n.svc.cluster.local.', 'A'), {
    kind: 'addresses',
    addresses: ['10.96.1.0'],
  })
  t.same(lookup(zone, 'web.n.svc.cluster.local', 'AAAA'), {
    kind: 'addresses',
    addresses: ['fd00:10:96::101'],
  })
  t.same(lookup(zone, '_http._tcp.web.n.svc.cluster.local', 'SRV'), {
    kind: 'srv',
    records: [{ port: 80, target: 'web.n.svc.cluster.local' }],
  })
})

t.test('headless services by ready pods', async (t) => {
  t.same(lookup(zone, 'h.n.svc.cluster.local', 'A'), {
    kind: 'addresses',
    addresses: ['10.244.1.2'],
  })
  t.same(lookup(zone, '_http._tcp.h.n.svc.cluster.local', 'SRV'), {
    kind: 'srv',
    records: [
      { port: 8080, target: '10-244-1-2.h.n.svc.cluster.local' },
      { port: 8080, target: 'fd00-10-244-1-2.h.n.svc.cluster.local' },
    ],
  })
  t.same(lookup(zone, '10-244-1-2.h.n.svc.cluster.local', 'A'), {
    kind: 'addresses',
    addresses: ['10.244.1.2'],
  })
})

t.test('pods with a name of their own, and slices that people wrote', async (t) => {
  const written = {
    ...slice('m', 'IPv4', [{ addresses: ['192.0.2.7'] }, { addresses: ['192.0.2.8'] }]),
    ports: null,
  }
  const own = { hostname: 'db-0', conditions: ready }
  const zone = buildZone(
    [service('h', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] })],
    [
      slice('a', 'IPv4', [{ ...own, addresses: ['10.244.1.2'] }]),
      slice('b', 'IPv6', [{ ...own, addresses: ['fd00:10:244:1::2'] }]),
      written,
    ],
  )
  const addresses = (name: string, type: 'A' | 'AAAA') => {
    const found = lookup(zone, `${name}.n.svc.cluster.local`, type)
    return found.kind === 'addresses' ? found.addresses : found.kind
  }
  t.same(addresses('db-0.h', 'A'), ['10.244.1.2'])
  t.same(addresses('db-0.h', 'AAAA'), ['fd00:10:244:1::2'])
  t.same(addresses('h', 'A'), ['10.244.1.2', '192.0.2.7', '192.0.2.8'])
  t.same(addresses('192-0-2-7.h', 'A'), ['192.0.2.7'])
  t.same(addresses('10-244-1-2.h', 'A'), 'no-name')
  t.same(lookup(zone, '_http._tcp.h.n.svc.cluster.local', 'SRV'), {
    kind: 'srv',
    records: [{ port: 8080, target: 'db-0.h.n.svc.cluster.local' }],
  })
})

t.test('ExternalName stands for another name', async (t) => {
  const spec = { type: 'ExternalName', externalName: 'db.example.org.' }
  const zone = buildZone([service('db', spec)], [])
  for (const type of ['A', 'AAAA', 'SRV']) {
    t.same(lookup(zone, 'db.n.svc.cluster.local', type), {
      kind: 'alias',
      target: 'db.example.org',
    })
  }
})

t.test(
  'no data is not no name: glibc asks for A and AAAA and gives up on NXDOMAIN',
  async (t) => {
    t.same(lookup(zone, 'four.n.svc.cluster.local', 'AAAA'), { kind: 'no-data' })
    t.same(lookup(zone, 'web.n.svc.cluster.local', 'TXT'), { kind: 'no-data' })
    t.same(lookup(zone, 'n.svc.cluster.local', 'A'), { kind: 'no-data' })
    t.same(lookup(zone, 'cluster.local', 'A'), { kind: 'no-data' })
    t.same(lookup(zone, 'none.n.svc.cluster.local', 'A'), { kind: 'no-name' })
    t.same(lookup(zone, 'example.org', 'A'), { kind: 'no-name' })
  },
)
