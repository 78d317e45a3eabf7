// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { ClusterIPs } from '../../src/object/cluster-ip.ts'
import type { ServiceObject } from '../../src/types.ts'

function service(name: string, spec: ServiceObject['spec'] = {}): ServiceObject {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'n' }, spec }
}

t.test('dual stack, stable, freed on release', async (t) => {
  const ips = new ClusterIPs()
  const first = ips.assign(service('a')).spec.clusterIPs
  t.same(first, ['10.96.1.0', 'fd00:10:96::101'])
  t.same(ips.assign(service('a')).spec.clusterIPs, first, 'applied again: same addresses')
  t.not(ips.assign(service('b')).spec.clusterIPs?.[0], first?.[0])
})

t.test(
  'given addresses are honoured, taken ones refused, None is headless',
  async (t) => {
    const ips = new ClusterIPs()
    const dns = service('dns', { clusterIP: '10.96.0.10' })
    t.match(ips.assign(dns).spec, {
      clusterIP: '10.96.0.10',
      clusterIPs: ['10.96.0.10', /^fd00:/],
    })
    t.throws(() => ips.assign(service('other', { clusterIP: '10.96.0.10' })), {
      code: 'invalid',
      message: /Service n\/other: spec\.clusterIP: 10\.96\.0\.10 belongs to n\/dns/,
    })
    ips.release('n/dns')
    t.equal(
      ips.assign(service('other', { clusterIP: '10.96.0.10' })).spec.clusterIP,
      '10.96.0.10',
    )
    t.same(ips.assign(service('h', { clusterIP: 'None' })).spec.clusterIPs, ['None'])
  },
)

t.test('families', async (t) => {
  const ips = new ClusterIPs()
  const single = ips.assign(
    service('s', { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] }),
  )
  t.equal(single.spec.clusterIPs?.length, 1)
  t.match(single.spec.clusterIP, /^fd00:10:96::/)
  t.match(
    ips.assign(service('six', { ipFamilies: ['IPv6', 'IPv4'] })).spec.clusterIP,
    /^fd00/,
  )
})
