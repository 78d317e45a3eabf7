// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { columnsOf, kindOf } from '../src/kinds.ts'

t.test('kinds as people write them', async (t) => {
  const written = {
    pods: 'Pod',
    po: 'Pod',
    Pod: 'Pod',
    svc: 'Service',
    services: 'Service',
    netpol: 'NetworkPolicy',
    networkpolicies: 'NetworkPolicy',
    accesspolicies: 'AccessPolicy',
    httproutes: 'HTTPRoute',
    endpointslices: 'EndpointSlice',
    l7services: 'L7Service',
    XMesh: 'XMesh',
  }
  for (const [text, kind] of Object.entries(written)) t.equal(kindOf(text), kind, text)
})

t.test('columns', async (t) => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a' },
    spec: { nodeName: 'node-1' },
    status: {
      phase: 'Running',
      podIPs: [{ ip: '10.244.1.2' }, { ip: 'fd00::2' }],
      containerStatuses: [{ ready: true, restartCount: 2 }],
    },
  }
  t.same(columnsOf('Pod').row(pod), [
    '1/1',
    'Running',
    '2',
    'node-1',
    '10.244.1.2,fd00::2',
  ])
  const route = {
    apiVersion: 'x',
    kind: 'HTTPRoute',
    metadata: { name: 'r' },
    status: { conditions: [{ type: 'Accepted', status: 'True' }] },
  }
  t.same(columnsOf('HTTPRoute').row(route), ['Accepted=True'])
})
