// SPDX-License-Identifier: Apache-2.0
// The small parts of compile, and what is promised across compiles: stable numbers, values kept, only what changed.
import { Role, same } from '@pillion/contract'
import t from 'tap'
import { compile, emptyPools, type Dirty } from '../../src/compile/compile.ts'
import { allocate, emptyPool, numberOf } from '../../src/compile/pool.ts'
import { portBlocks } from '../../src/compile/ports.ts'
import { matches } from '../../src/compile/selector.ts'
import { ObjectIndex } from '../../src/index/objects.ts'
import { diff } from '../../src/publish/diff.ts'
import { viewOf } from '../../src/publish/views.ts'
import { Files } from '../../src/watch/files.ts'
import { compileYaml, node, pod, service, slice } from '../support/objects.ts'

t.test('port blocks cover a range exactly, and there are few', async (t) => {
  const ranges = [
    [1, 65535],
    [80, 80],
    [0, 65535],
    [9000, 9006],
    [1, 65534],
    [32768, 60999],
  ] as const
  for (const [first, last] of ranges) {
    const blocks = portBlocks(first, last)
    t.ok(blocks.length <= 30, `${first}-${last}: ${blocks.length}`)
    let next = first as number
    for (const { port, portBits } of blocks) {
      const size = 2 ** (16 - portBits)
      t.equal(port, next, 'no gap, no overlap')
      t.equal(port % size, 0, 'a block is aligned')
      next += size
    }
    t.equal(next, last + 1)
  }
})

t.test('a key keeps its number; a gone number is nobody else’s', async (t) => {
  const first = allocate(emptyPool(256), new Set(['a', 'b']))
  t.equal(numberOf(first, 'a'), 256)
  t.equal(allocate(first, new Set(['b', 'a'])), first, 'the same value')
  const without = allocate(first, new Set(['b', 'c']))
  t.equal(numberOf(without, 'b'), 257)
  t.equal(numberOf(without, 'c'), 258)
  t.throws(() => numberOf(without, 'a'), RangeError)
  t.equal(
    numberOf(allocate(without, new Set(['a'])), 'a'),
    256,
    'who comes back gets the old one',
  )
})

t.test('selectors', async (t) => {
  const selector = (
    operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist',
    values: string[] = [],
  ) => ({
    matchLabels: {},
    matchExpressions: [{ key: 'k', operator, values }],
  })
  t.ok(matches({ matchLabels: {}, matchExpressions: [] }, {}))
  t.notOk(matches({ matchLabels: { k: 'v' }, matchExpressions: [] }, {}))
  t.ok(matches(selector('NotIn', ['v']), {}), 'absent is not in')
  t.notOk(matches(selector('NotIn', ['v']), { k: 'v' }))
  t.notOk(matches(selector('In', ['v']), {}))
  t.ok(matches(selector('In', ['v', 'w']), { k: 'w' }))
  t.ok(matches(selector('Exists'), { k: '' }))
  t.ok(matches(selector('DoesNotExist'), {}))
})

t.test('equality of messages', async (t) => {
  t.ok(
    same(
      { a: [Buffer.from([1])], b: undefined },
      { a: [Buffer.from([1])], b: undefined },
    ),
  )
  t.notOk(same({ a: Buffer.from([1]) }, { a: Buffer.from([2]) }))
  t.notOk(same({ a: 1 }, { a: 1, b: undefined }))
  t.notOk(same(undefined, {}))
})

const base = [
  node('node-1', '10.245.0.1'),
  pod('shop', 'web', '10.244.1.2'),
  pod('shop', 'api', '10.244.1.3'),
  service('shop', 'web', '10.96.0.5'),
  service('shop', 'api', '10.96.0.6'),
  slice('shop', 'web', ['10.244.1.2']),
  slice('shop', 'api', ['10.244.1.3']),
].join('')

const denyAll = `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
`

t.test(
  'a step from a previous compile gives what a fresh compile gives, and shares the rest',
  async (t) => {
    const files = new Files()
    const index = new ObjectIndex()
    let dirty: Dirty = index.apply(files.update(new Map([['f', base]])))
    let current = compile(index.snapshot(), emptyPools(), undefined, dirty)
    const step = (text: string) => {
      dirty = index.apply(files.update(new Map([['f', text]])))
      const before = current
      current = compile(index.snapshot(), before.pools, before, dirty)
      const fresh = compile(index.snapshot(), before.pools)
      for (const part of [
        'settings',
        'proxyServicePorts',
        'proxyEndpoints',
        'conditions',
      ] as const) {
        t.same(current[part], fresh[part], part)
      }
      t.same(new Map(current.workloads.identities), new Map(fresh.workloads.identities))
      t.same(new Map(current.workloads.addresses), new Map(fresh.workloads.addresses))
      t.same(new Map(current.services.endpoints), new Map(fresh.services.endpoints))
      t.same(new Map(current.services.servicePorts), new Map(fresh.services.servicePorts))
      t.same(current.policies.subjects, fresh.policies.subjects)
      t.same(current.routes.tables, fresh.routes.tables)
      return { before, after: current }
    }
    const scaled = step(
      base.replace(
        '{addresses: [10.244.1.2]}',
        '{addresses: [10.244.1.2]}, {addresses: [10.244.1.3]}',
      ),
    )
    t.equal(scaled.after.services.endpoints.size, 3)
    t.equal(
      scaled.after.policies,
      scaled.before.policies,
      'policies were not compiled again',
    )
    t.equal(scaled.after.workloads, scaled.before.workloads)
    const api = 'shop/api:80/TCP|10.244.1.3:8080'
    t.equal(
      scaled.after.services.endpoints.get(api),
      scaled.before.services.endpoints.get(api),
    )
    const denied = step(base + denyAll)
    t.equal(denied.after.policies.subjects.size, 2)
    t.equal(denied.after.workloads.addresses, denied.before.workloads.addresses)
    const relabelled = step(
      (base + denyAll).replace('labels: {app: web}', 'labels: {app: web, tier: front}'),
    )
    t.equal(relabelled.after.workloads.byAddress.get('10.244.1.2')?.identity, 258)
    t.equal(
      relabelled.after.services.endpoints.get('shop/web:80/TCP|10.244.1.2:8080')
        ?.identity,
      258,
    )
    step(base)
    t.equal(current.workloads.byAddress.get('10.244.1.2')?.identity, 256)
    t.equal(current.policies.subjects.size, 0)
  },
)

t.test('an endpoint that terminates may go on serving', async (t) => {
  const conditions = (text: string): string =>
    slice('shop', 'web', ['10.244.1.2']).replace(']}]', `], conditions: ${text}}]`)
  const endpoint = (text: string) =>
    compileYaml(service('shop', 'web', '10.96.0.5') + conditions(text))
      .services.endpoints.values()
      .next().value
  t.match(endpoint('{ready: false, serving: true, terminating: true}'), {
    ready: true,
    terminating: true,
  })
  t.match(endpoint('{ready: false, serving: false, terminating: true}'), { ready: false })
  t.match(endpoint('{ready: false, serving: true}'), { ready: false, terminating: false })
  t.match(endpoint('{}'), { ready: true, terminating: false })
})

t.test('of an endpoint that is in two slices the better word counts', async (t) => {
  const twice = (first: string, second: string): string =>
    slice('shop', 'web', ['10.244.1.2']).replace(
      ']}]',
      `], conditions: ${first}}, {addresses: [10.244.1.2], conditions: ${second}}]`,
    )
  const ready = '{ready: true}'
  const leaving = '{ready: false, serving: true, terminating: true}'
  const away = '{ready: false}'
  for (const [first, second, want] of [
    [ready, away, { ready: true, terminating: false }],
    [away, leaving, { ready: true, terminating: true }],
    [leaving, ready, { ready: true, terminating: false }],
    [ready, leaving, { ready: true, terminating: false }],
  ] as const) {
    const text = service('shop', 'web', '10.96.0.5') + twice(first, second)
    const { endpoints } = compileYaml(text).services
    t.equal(endpoints.size, 1)
    t.match([...endpoints.values()][0], want, `${first} ${second}`)
  }
})

t.test('what a node says of itself touches no service and no other node', async (t) => {
  const files = new Files()
  const index = new ObjectIndex()
  const other = node('node-2', '10.245.0.2')
  index.apply(files.update(new Map([['f', base + other]])))
  const before = compile(index.snapshot(), emptyPools())
  const labelled = (labels: string): Dirty => {
    const text = (base + other).replace(
      '{name: node-1}',
      `{name: node-1, labels: ${labels}}`,
    )
    return index.apply(files.update(new Map([['f', text]])))
  }
  t.equal(labelled('{example.com/cores: "8"}').size, 0, 'a label that nobody reads')
  const dirty = labelled('{topology.kubernetes.io/zone: zone-a}')
  const after = compile(index.snapshot(), before.pools, before, dirty)
  t.same(viewOf(after, 'node-1', Role.PROXY).node.get('node-1'), {
    name: 'node-1',
    zone: 'zone-a',
  })
  t.equal(after.services, before.services)
  for (const role of [Role.AGENT, Role.PROXY]) {
    const changed = (name: string) =>
      diff(viewOf(before, name, role), viewOf(after, name, role)).upserts
    t.same(
      changed('node-1').map(({ body }) => body?.$case),
      ['node'],
    )
    t.same(changed('node-2'), [])
  }
  t.equal(after.nodes.get('node-2'), before.nodes.get('node-2'))
})
