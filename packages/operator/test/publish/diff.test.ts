// SPDX-License-Identifier: Apache-2.0
// Property: what diff(A, B) says, applied to A with the contract's own applyDelta, over the wire, gives B.
import {
  applyDelta,
  Delta,
  emptyResources,
  type Resources,
  type Rule,
} from '@pillion/contract'
import t from 'tap'
import { diff, isEmpty } from '../../src/publish/diff.ts'

/** mulberry32: the same sequence in every run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function randomView(next: () => number): Resources {
  const pick = (limit: number): number => Math.floor(next() * limit)
  const rule = new Map<string, Rule>()
  const endpoint = new Map<string, ReturnType<typeof endpointOf>>()
  const routeTable = new Map()
  for (let i = pick(6); i > 0; i--) {
    const id = pick(5)
    rule.set(String(id), { id, text: `text ${pick(2)}`, shadow: undefined })
    endpoint.set(`e${id}`, endpointOf(id, pick(3)))
    routeTable.set(`t${id}`, {
      serviceId: pick(2),
      rules: [],
      hasRoutes: pick(2) === 1,
      requestTimeoutMs: 0,
      backendTimeoutMs: 0,
      retry: undefined,
      traffic: undefined,
      filters: [],
      retryBudget: undefined,
    })
  }
  return { ...emptyResources(), rule, endpoint, routeTable }
}

function endpointOf(id: number, last: number) {
  return {
    serviceId: id,
    address: Buffer.from([...Array<number>(15).fill(0), last]),
    port: 80,
    weight: 1,
    ready: true,
    terminating: false,
    identity: 0,
    node: '',
    namespace: '',
    pod: '',
    workload: '',
    serviceAccount: '',
    app: '',
    version: '',
    zone: '',
    hintZones: [],
    hintNodes: [],
  }
}

const overTheWire = (changes: ReturnType<typeof diff>): Delta =>
  Delta.decode(
    Delta.encode({
      version: 1,
      epoch: 'e',
      full: false,
      replaced: [],
      ...changes,
    }).finish(),
  )

t.test('500 random pairs of views', async (t) => {
  const next = random(20261121)
  let changed = 0
  let wrong = 0
  for (let i = 0; i < 500; i++) {
    const from = randomView(next)
    const to = randomView(next)
    const changes = diff(from, to)
    const { resources } = applyDelta(from, overTheWire(changes))
    if (!isEmpty(changes)) changed++
    // Order of names is no part of a view.
    if (!isEmpty(diff(resources, to)) || !isEmpty(diff(to, resources))) wrong++
    for (const kind of ['rule', 'endpoint', 'routeTable'] as const) {
      if (resources[kind].size !== to[kind].size) wrong++
    }
  }
  t.equal(wrong, 0)
  t.ok(changed > 400, `${changed} pairs differ`)
})

t.test('equal views have an empty diff, one change is one resource', async (t) => {
  const from = randomView(random(3))
  t.ok(isEmpty(diff(from, { ...from, rule: new Map(from.rule) })))
  const to = { ...from, rule: new Map([...from.rule, ['9', { id: 9, text: 'nine' }]]) }
  t.same(diff(from, to), {
    upserts: [{ name: '9', body: { $case: 'rule', value: { id: 9, text: 'nine' } } }],
    removals: [],
  })
  t.same(diff(to, from).removals, [{ kind: 'rule', name: '9' }])
})
