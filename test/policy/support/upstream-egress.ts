// SPDX-License-Identifier: Apache-2.0
// Behaviours of Kubernetes' network_policy.go that are about egress, or about both directions.
import {
  addressOf,
  behaviour,
  block,
  dns,
  everything,
  fromA,
  isA,
  namespaceOf,
  namespaces,
  onlyTo,
  pods,
  policy,
  port,
  type Behaviour,
} from './behaviour.ts'

const all = {}
const podRangeOfZ = '10.244.2.0/24'

export const egress: readonly Behaviour[] = [
  behaviour(
    'allow egress access on one named port',
    [policy({ egress: [{ ports: [port('serve-80-tcp')] }, dns] })],
    (c) => !fromA(c) || (c.protocol === 'TCP' && c.port === 80),
  ),
  behaviour(
    'deny egress from pods based on PodSelector',
    [policy({ egress: [] })],
    (c) => !fromA(c),
  ),
  behaviour(
    'deny egress from all pods in a namespace',
    [policy({ selects: all, egress: [] })],
    ({ from }) => namespaceOf(from) !== 'x',
  ),
  behaviour(
    'work with Ingress, Egress specified together',
    [
      policy({
        ingress: [{ from: [namespaces({ ns: 'y' })] }],
        egress: [{ to: [namespaces({ ns: 'z' })], ports: [port(80)] }, dns],
      }),
    ],
    (c) =>
      (!isA(c) || namespaceOf(c.from) === 'y') &&
      (!fromA(c) || (namespaceOf(c.to) === 'z' && c.protocol === 'TCP' && c.port === 80)),
  ),
  behaviour(
    'egress deny at the client, even if the server allows it',
    [
      policy({
        egress: [{ to: [{ ...namespaces({ ns: 'y' }), ...pods({ pod: 'b' }) }] }, dns],
      }),
      policy({
        namespace: 'y',
        ingress: [{ from: [{ ...namespaces({ ns: 'x' }), ...pods({ pod: 'a' }) }] }],
      }),
    ],
    (c) => onlyTo('y/b')(c) && c.to !== 'y/a',
  ),
  behaviour(
    'egress to a server in a different namespace, by both selectors',
    [
      policy({
        egress: [{ to: [{ ...namespaces({ ns: 'y' }), ...pods({ pod: 'a' }) }] }, dns],
      }),
    ],
    onlyTo('y/a'),
  ),
  behaviour(
    'any port on a specific protocol',
    [policy({ egress: [{ ports: [{ protocol: 'TCP' }] }, dns] })],
    (c) => !fromA(c) || c.protocol === 'TCP',
  ),
  behaviour(
    'egress allow-all policy takes precedence over deny-all policy',
    [
      policy({ name: 'deny', selects: all, egress: [] }),
      policy({ name: 'allow', selects: all, egress: [{}] }),
    ],
    everything,
  ),
  behaviour(
    'allow egress access to server in CIDR block',
    (cluster) => [
      policy({ egress: [{ to: [block(`${addressOf(cluster, 'z/b')}/32`)] }, dns] }),
    ],
    onlyTo('z/b'),
  ),
  behaviour(
    'except clause while egress access to server in CIDR block',
    (cluster) => [
      policy({
        egress: [{ to: [block(podRangeOfZ, `${addressOf(cluster, 'z/b')}/32`)] }, dns],
      }),
    ],
    onlyTo('z/a', 'z/c'),
  ),
  behaviour(
    'an address in one block and in the exception of another is allowed',
    (cluster) => {
      const one = `${addressOf(cluster, 'z/b')}/32`
      return [
        policy({ name: 'except', egress: [{ to: [block(podRangeOfZ, one)] }, dns] }),
        policy({ name: 'one', egress: [{ to: [block(one)] }] }),
      ]
    },
    onlyTo('z'),
  ),
  {
    name: 'ingress and egress are controlled independently',
    stages: [
      {
        policies: [
          policy({ name: 'in', ingress: [{}] }),
          policy({ name: 'out', egress: [] }),
        ],
        allowed: (c) => !fromA(c),
      },
      {
        policies: [
          policy({ name: 'in', ingress: [] }),
          policy({ name: 'out', egress: [{}] }),
        ],
        allowed: (c) => !isA(c),
      },
    ],
  },
]
