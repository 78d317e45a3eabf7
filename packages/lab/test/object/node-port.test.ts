// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { NodePorts } from '../../src/object/node-port.ts'
import type { ServiceObject } from '../../src/types.ts'

function service(name: string, spec: ServiceObject['spec']): ServiceObject {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'n' }, spec }
}

const numbers = ({ spec }: ServiceObject) => spec.ports?.map(({ nodePort }) => nodePort)

const dns = [{ port: 53, protocol: 'UDP' }, { port: 53 }]

t.test('given where they are asked for, stable, freed on release', async (t) => {
  const ports = new NodePorts()
  t.same(numbers(ports.assign(service('plain', { ports: dns }))), [undefined, undefined])
  const first = ports.assign(service('a', { type: 'NodePort', ports: dns }))
  t.same(numbers(first), [30_000, 30_001])
  const again = service('a', { type: 'NodePort', ports: dns.toReversed() })
  t.same(numbers(ports.assign(again)), [30_001, 30_000], 'applied again: the same')
  const balancer = service('b', { type: 'LoadBalancer', ports: [{ port: 80 }] })
  t.same(numbers(ports.assign(balancer)), [30_002])
  const without = { ...balancer.spec, allocateLoadBalancerNodePorts: false }
  t.same(numbers(ports.assign(service('b', without))), [undefined])
  const taken = service('c', {
    type: 'NodePort',
    ports: [{ port: 80, nodePort: 30_002 }],
  })
  t.same(numbers(ports.assign(taken)), [30_002], 'b wants it no more')
})

t.test('one number for TCP and UDP of one service; not of two', async (t) => {
  const ports = new NodePorts()
  const both = dns.map((port) => ({ ...port, nodePort: 30_053 }))
  t.same(
    numbers(ports.assign(service('dns', { type: 'NodePort', ports: both }))),
    [30_053, 30_053],
  )
  const other = service('other', { type: 'NodePort', ports: both })
  t.throws(() => ports.assign(other), {
    code: 'invalid',
    message: 'Service n/other: spec.ports[0].nodePort: 30053 belongs to n/dns',
  })
  const outside = [{ port: 53, nodePort: 8080 }]
  t.throws(() => ports.assign(service('dns', { type: 'NodePort', ports: outside })), {
    message: /nodePort: 8080 is not from 30000 to 32767/,
  })
  t.throws(() => ports.assign(other), { message: /belongs to n\/dns/ })
  ports.release('n/dns')
  t.same(numbers(ports.assign(other)), [30_053, 30_053])
})
