// SPDX-License-Identifier: Apache-2.0
// The cases of Kubernetes: pkg/proxy/topology_test.go (CategorizeEndpoints), and the hints for nodes of KEP-3015.
import t from 'tap'
import {
  localityOf,
  selectEndpoints,
  type Candidate,
  type Locality,
} from '../src/index.ts'

type Named = Candidate & { readonly name: string }

/** "a" with state, node and hints: `at('a', { node: 'n1', zones: ['z1'] })`. */
function at(
  name: string,
  rest: {
    state?: 'ready' | 'not-ready' | 'terminating' | 'gone'
    node?: string
    zones?: string[]
    nodes?: string[]
  } = {},
): Named {
  const { state = 'ready', node = 'elsewhere', zones = [], nodes = [] } = rest
  return {
    name,
    ready: state === 'ready' || state === 'terminating',
    terminating: state === 'terminating' || state === 'gone',
    node,
    hintZones: zones,
    hintNodes: nodes,
  }
}

const hintedByZone = [
  at('1', { zones: ['zone-a'] }),
  at('2', { zones: ['zone-b'] }),
  at('3', { zones: ['zone-c'] }),
  at('4', { zones: ['zone-a'] }),
]
const hintedByNode = [
  at('1', { zones: ['zone-a'], nodes: ['node-1'] }),
  at('2', { zones: ['zone-a'], nodes: ['node-2'] }),
  at('3', { zones: ['zone-b'], nodes: ['node-3'] }),
]

interface Case {
  readonly name: string
  readonly endpoints: readonly Named[]
  readonly from?: { node?: string; zone?: string; localOnly?: boolean }
  readonly want: string
  readonly by?: Locality
}

const cases: readonly Case[] = [
  { name: 'no endpoints', endpoints: [], want: '' },
  {
    name: 'hinted for the zone',
    endpoints: hintedByZone,
    from: { zone: 'zone-a' },
    want: '1 4',
    by: 'zone',
  },
  {
    name: 'the node has no zone: hints are ignored',
    endpoints: hintedByZone,
    want: '1 2 3 4',
  },
  {
    name: 'nothing is hinted for the zone: hints are ignored',
    endpoints: [at('1', { zones: ['zone-a'] })],
    from: { zone: 'zone-b' },
    want: '1',
  },
  {
    name: 'an endpoint that is not ready is left out of its zone',
    endpoints: [...hintedByZone.slice(0, 3), at('4', { state: 'not-ready' })],
    from: { zone: 'zone-a' },
    want: '1',
    by: 'zone',
  },
  {
    name: 'nothing ready in the zone: hints are ignored',
    endpoints: [
      at('1', { state: 'not-ready', zones: ['zone-a'] }),
      at('2', { zones: ['zone-b'] }),
      at('3', { zones: ['zone-c'] }),
      at('4', { state: 'not-ready', zones: ['zone-a'] }),
    ],
    from: { zone: 'zone-a' },
    want: '2 3',
  },
  {
    name: 'one ready endpoint without a hint: hints are ignored',
    endpoints: [...hintedByZone, at('5')],
    from: { zone: 'zone-a' },
    want: '1 2 3 4 5',
  },
  {
    name: 'several hints an endpoint',
    endpoints: [
      at('1', { zones: ['zone-a', 'zone-b', 'zone-c'] }),
      at('2', { zones: ['zone-b', 'zone-c'] }),
      at('3', { zones: ['zone-b', 'zone-d'] }),
      at('4', { zones: ['zone-c'] }),
    ],
    from: { zone: 'zone-c' },
    want: '1 2 4',
    by: 'zone',
  },
  {
    name: 'hinted for the node',
    endpoints: hintedByNode,
    from: { node: 'node-1', zone: 'zone-a' },
    want: '1',
    by: 'node',
  },
  {
    name: 'nothing is hinted for the node: its zone',
    endpoints: hintedByNode,
    from: { node: 'node-9', zone: 'zone-a' },
    want: '1 2',
    by: 'zone',
  },
  {
    name: 'one without a hint for nodes: the zone',
    endpoints: [...hintedByNode, at('4', { zones: ['zone-a'] })],
    from: { node: 'node-1', zone: 'zone-a' },
    want: '1 2 4',
    by: 'zone',
  },
  {
    name: 'nothing is hinted for node or zone',
    endpoints: hintedByNode,
    from: { node: 'node-9', zone: 'zone-z' },
    want: '1 2 3',
  },
  {
    name: 'hints for nodes need no zone',
    endpoints: hintedByNode,
    from: { node: 'node-3' },
    want: '3',
    by: 'node',
  },
  {
    name: 'local only: hints are not asked',
    endpoints: [
      at('1', { node: 'node-1', zones: ['zone-a'] }),
      at('2', { node: 'node-1', zones: ['zone-b'] }),
      at('3', { node: 'node-2', zones: ['zone-a'] }),
    ],
    from: { zone: 'zone-a', localOnly: true },
    want: '1 2',
    by: 'local-only',
  },
  {
    name: 'local only: all are remote',
    endpoints: [at('1'), at('2')],
    from: { localOnly: true },
    want: '',
    by: 'local-only',
  },
  {
    name: 'local only: the local ones terminate, and serve before anything remote does',
    endpoints: [at('1'), at('2', { node: 'node-1', state: 'terminating' })],
    from: { localOnly: true },
    want: '2',
    by: 'local-only',
  },
  {
    name: 'local only: a ready one beside one that terminates',
    endpoints: [
      at('1', { node: 'node-1' }),
      at('2', { node: 'node-1', state: 'terminating' }),
    ],
    from: { localOnly: true },
    want: '1',
    by: 'local-only',
  },
  {
    name: 'local only: not ready and not serving',
    endpoints: [
      at('1', { node: 'node-1', state: 'not-ready' }),
      at('2', { node: 'node-1', state: 'gone' }),
    ],
    from: { localOnly: true },
    want: '',
    by: 'local-only',
  },
  {
    name: 'nothing is ready',
    endpoints: [at('1', { state: 'not-ready' }), at('2', { state: 'gone' })],
    want: '',
  },
  {
    name: 'some are ready',
    endpoints: [at('1', { state: 'not-ready' }), at('2')],
    want: '2',
  },
  {
    name: 'all terminate: those that serve are the last resort, hints or not',
    endpoints: [
      at('1', { state: 'terminating', zones: ['zone-a'] }),
      at('2', { state: 'terminating', zones: ['zone-b'] }),
      at('3', { state: 'gone', zones: ['zone-a'] }),
    ],
    from: { zone: 'zone-a' },
    want: '1 2',
  },
  {
    name: 'one is ready far away: nothing that terminates is used',
    endpoints: [at('1'), at('2', { state: 'terminating', node: 'node-1' })],
    want: '1',
  },
  {
    name: 'one that terminates without a hint does not spoil the hints',
    endpoints: [...hintedByZone, at('5', { state: 'terminating' })],
    from: { zone: 'zone-a' },
    want: '1 4',
    by: 'zone',
  },
]

for (const { name, endpoints, from, want, by = 'all' } of cases) {
  t.test(name, async (t) => {
    const vantage = { node: 'node-1', zone: '', localOnly: false, ...from }
    const got = selectEndpoints(endpoints, vantage)
    t.equal(got.map((endpoint) => endpoint.name).join(' '), want)
    t.equal(localityOf(endpoints, vantage), by)
  })
}
