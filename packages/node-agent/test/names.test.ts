// SPDX-License-Identifier: Apache-2.0
import { parseAddress, Protocol } from '@pillion/contract'
import t from 'tap'
import { Names } from '../src/names.ts'
import { of, resourcesOf, shop } from './support/resources.ts'

t.test('the service behind an address, however it was met', async (t) => {
  const resources = resourcesOf([
    ...shop,
    of('servicePort', 'shop/edge:80/TCP', {
      ...{ id: 9, namespace: 'shop', service: 'edge', port: 80, protocol: Protocol.TCP },
      ...{ addresses: [parseAddress('10.96.0.9')], nodePort: 30_080 },
      externalAddresses: [parseAddress('198.51.100.7')],
    }),
  ])
  const names = new Names(resources)
  const service = (address: string, port: number, protocol: number = Protocol.TCP) =>
    names.service(parseAddress(address), port, protocol)?.service
  t.equal(service('10.96.0.9', 80), 'edge')
  t.equal(service('198.51.100.7', 80), 'edge')
  t.equal(service('10.245.0.1', 30_080), 'edge', "a node's own address")
  t.equal(service('10.245.0.1', 30_080, Protocol.UDP), undefined)
  t.equal(service('10.244.1.3', 30_080), undefined, "a pod's")
  t.equal(service('10.245.0.1', 0), undefined, 'no port is no node port')
})
