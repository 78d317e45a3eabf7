// SPDX-License-Identifier: Apache-2.0
// Behaviours of Kubernetes' network_policy.go that are about ingress, by the names that they have there.
import {
  behaviour,
  everything,
  inExpression,
  isA,
  namespaceOf,
  namespaces,
  notIn,
  onlyFrom,
  pods,
  policy,
  port,
  type Behaviour,
  type Connection,
} from './behaviour.ts'

const all = {}
const intoX = ({ from, to }: Connection): boolean =>
  namespaceOf(to) === 'x' && from !== to
const onPort =
  (number: number, from?: string) =>
  (c: Connection): boolean =>
    !isA(c) ||
    (c.protocol === 'TCP' &&
      c.port === number &&
      (from === undefined || namespaceOf(c.from) === from))

const allowedFrom = (...from: object[]) => [policy({ ingress: [{ from }] })]
const defaultName = 'kubernetes.io/metadata.name'

export const ingress: readonly Behaviour[] = [
  behaviour(
    'default-deny-ingress',
    [policy({ selects: all, ingress: [] })],
    (c) => !intoX(c),
  ),
  behaviour(
    'default-deny-all',
    [policy({ selects: all, ingress: [], egress: [] })],
    (c) => namespaceOf(c.to) !== 'x' && namespaceOf(c.from) !== 'x',
  ),
  behaviour(
    'traffic from pods within server namespace based on PodSelector',
    allowedFrom(pods({ pod: 'b' })),
    onlyFrom('x/b'),
  ),
  behaviour(
    'ingress traffic for a target',
    [
      policy({ name: 'deny', selects: all, ingress: [] }),
      policy({ name: 'allow', ingress: [{}] }),
    ],
    (c) => !intoX(c) || isA(c),
  ),
  behaviour(
    'ingress traffic from pods in all namespaces',
    allowedFrom({ namespaceSelector: {} }),
    everything,
  ),
  behaviour(
    'traffic only from a different namespace, based on NamespaceSelector',
    allowedFrom(namespaces({ ns: 'y' })),
    onlyFrom('y'),
  ),
  behaviour(
    'PodSelector with MatchExpressions',
    allowedFrom({ podSelector: inExpression('pod', 'b') }),
    onlyFrom('x/b'),
  ),
  behaviour(
    'NamespaceSelector with MatchExpressions',
    allowedFrom({ namespaceSelector: inExpression('ns', 'y') }),
    onlyFrom('y'),
  ),
  behaviour(
    'PodSelector or NamespaceSelector',
    allowedFrom({ namespaceSelector: notIn('ns', 'x') }, pods({ pod: 'b' })),
    onlyFrom('y', 'z', 'x/b'),
  ),
  behaviour(
    'PodSelector and NamespaceSelector',
    allowedFrom({ namespaceSelector: notIn('ns', 'x'), ...pods({ pod: 'b' }) }),
    onlyFrom('y/b', 'z/b'),
  ),
  behaviour(
    'multiple PodSelectors and NamespaceSelectors',
    allowedFrom({
      namespaceSelector: notIn('ns', 'x'),
      podSelector: inExpression('pod', 'b', 'c'),
    }),
    onlyFrom('y/b', 'y/c', 'z/b', 'z/c'),
  ),
  behaviour(
    'any PodSelectors',
    allowedFrom(pods({ pod: 'b' }), pods({ pod: 'c' })),
    onlyFrom('x/b', 'x/c'),
  ),
  behaviour(
    'traffic only from a pod in a different namespace, based on PodSelector and NamespaceSelector',
    allowedFrom({ ...namespaces({ ns: 'y' }), ...pods({ pod: 'a' }) }),
    onlyFrom('y/a'),
  ),
  behaviour(
    'based on Ports',
    [policy({ ingress: [{ from: [namespaces({ ns: 'y' })], ports: [port(81)] }] })],
    onPort(81, 'y'),
  ),
  behaviour(
    'multiple, stacked policies with overlapping podSelectors',
    [80, 81].map((number) =>
      policy({
        name: `p-${number}`,
        ingress: [{ from: [namespaces({ ns: 'y' })], ports: [port(number)] }],
      }),
    ),
    (c) => onPort(80, 'y')(c) || onPort(81, 'y')(c),
  ),
  behaviour('allow-all', [policy({ selects: all, ingress: [{}] })], everything),
  behaviour(
    'allow ingress access on one named port',
    [policy({ ingress: [{ ports: [port('serve-81-tcp')] }] })],
    onPort(81),
  ),
  behaviour(
    'allow ingress access from namespace on one named port',
    [
      policy({
        ingress: [{ from: [namespaces({ ns: 'y' })], ports: [port('serve-80-tcp')] }],
      }),
    ],
    onPort(80, 'y'),
  ),
  {
    name: 'updated policy',
    stages: [
      { policies: [policy({ selects: all, ingress: [{}] })], allowed: everything },
      { policies: [policy({ selects: all, ingress: [] })], allowed: (c) => !intoX(c) },
    ],
  },
  {
    name: 'ingress access from updated namespace',
    stages: [{}, { y: { ns2: 'updated' } }].map((labels) => ({
      policies: allowedFrom(namespaces({ ns2: 'updated' })),
      labels,
      allowed: 'y' in labels ? onlyFrom('y') : onlyFrom(),
    })),
  },
  {
    name: 'ingress access from updated pod',
    stages: [{}, { 'x/b': { pod2: 'updated' } }].map((labels) => ({
      policies: allowedFrom(pods({ pod: 'b', pod2: 'updated' })),
      labels,
      allowed: 'x/b' in labels ? onlyFrom('x/b') : onlyFrom(),
    })),
  },
  behaviour(
    'deny ingress from pods on other namespaces',
    [policy({ namespace: 'y', selects: all, ingress: [{ from: [pods(all)] }] })],
    ({ from, to }) => namespaceOf(to) !== 'y' || namespaceOf(from) === 'y',
  ),
  {
    name: 'deny ingress access to updated pod',
    stages: [{}, { 'x/a': { target: 'isolated' } }].map((labels) => ({
      policies: [policy({ selects: { target: 'isolated' }, ingress: [] })],
      labels,
      allowed: 'x/a' in labels ? onlyFrom() : everything,
    })),
  },
  behaviour(
    'ingress allow-all policy takes precedence over deny-all policy',
    [
      policy({ name: 'deny', selects: all, ingress: [] }),
      policy({ name: 'allow', selects: all, ingress: [{}] }),
    ],
    everything,
  ),
  {
    name: 'stop enforcing policies after they are deleted',
    stages: [
      {
        policies: [policy({ selects: all, ingress: [], egress: [] })],
        allowed: (c) => namespaceOf(c.to) !== 'x' && namespaceOf(c.from) !== 'x',
      },
      { policies: [], allowed: everything },
    ],
  },
  behaviour(
    'not mistakenly treat protocol: SCTP as protocol: TCP',
    [policy({ ingress: [{ ports: [port(80, 'SCTP'), port(81, 'SCTP')] }] })],
    onlyFrom(),
  ),
  behaviour(
    'isolate pods selected by a policy that mentions only SCTP',
    [policy({ selects: all, ingress: [{ ports: [port(9003, 'SCTP')] }] })],
    (c) => !intoX(c),
  ),
  behaviour(
    'not allow access by TCP when a policy specifies only UDP',
    [policy({ ingress: [{ ports: [port(81, 'UDP')] }] })],
    (c) => !isA(c) || (c.protocol === 'UDP' && c.port === 81),
  ),
  behaviour(
    'namespaces by the default label, matchLabels',
    allowedFrom(namespaces({ [defaultName]: 'y' })),
    onlyFrom('y'),
  ),
  behaviour(
    'namespaces by the default label, matchExpressions',
    allowedFrom({ namespaceSelector: notIn(defaultName, 'x', 'z', 'kube-system') }),
    onlyFrom('y'),
  ),
  behaviour(
    'UDP: based on Ports',
    [
      policy({
        ingress: [{ from: [namespaces({ ns: 'y' })], ports: [port(81, 'UDP')] }],
      }),
    ],
    (c) =>
      !isA(c) || (c.protocol === 'UDP' && c.port === 81 && namespaceOf(c.from) === 'y'),
  ),
  behaviour(
    'UDP: only from a pod in a different namespace, by both selectors',
    [
      policy({
        ingress: [
          {
            from: [{ ...namespaces({ ns: 'y' }), ...pods({ pod: 'a' }) }],
            ports: [{ protocol: 'UDP' }],
          },
        ],
      }),
    ],
    (c) => !isA(c) || (c.protocol === 'UDP' && c.from === 'y/a'),
  ),
  // No SCTP in this kernel: what is seen is that it isolates, and that it is neither TCP nor UDP.
  behaviour(
    'SCTP: based on Ports',
    [
      policy({
        ingress: [{ from: [namespaces({ ns: 'y' })], ports: [port(81, 'SCTP')] }],
      }),
    ],
    onlyFrom(),
  ),
  behaviour(
    'SCTP: only from a pod in a different namespace, by both selectors',
    [
      policy({
        ingress: [
          {
            from: [{ ...namespaces({ ns: 'y' }), ...pods({ pod: 'a' }) }],
            ports: [{ protocol: 'SCTP' }],
          },
        ],
      }),
    ],
    onlyFrom(),
  ),
]
