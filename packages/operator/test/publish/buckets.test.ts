// SPDX-License-Identifier: Apache-2.0
// Property: what ViewBuckets says that a holder lacks, over the wire and applied, makes any older view the newest, whatever
// views it was asked about in between.
import {
  applyDelta,
  bucketOf,
  Delta,
  digestBytes,
  emptyResources,
  kinds,
  Resource,
  summarize,
  Summary,
  type Address,
  type Resources,
  type Rule,
  type Workload,
  same,
  OverlayMap,
  VersionedMap,
} from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { ViewBuckets } from '../../src/publish/buckets.ts'
import { serverLimits } from '../../src/publish/server.ts'

/** Six names in two buckets, one alone: neighbours in a bucket are what can go wrong. */
const names = ['a', 'b'].flatMap((first) => {
  const found = [first]
  for (let n = 0; found.length < 3; n++) {
    if (bucketOf(`n${n}`) === bucketOf(first)) found.push(`n${n}`)
  }
  return found
})
const name = fc.constantFrom(...names, 'alone')
const content = fc.nat(2)
interface Step {
  readonly sets: [string, number][]
  readonly removals: string[]
  readonly overrides: [string, number][]
  readonly workloads: [string, number][]
}
const step: fc.Arbitrary<Step> = fc.record({
  sets: fc.array(fc.tuple(name, content), { maxLength: 4 }),
  removals: fc.array(name, { maxLength: 3 }),
  overrides: fc.array(fc.tuple(name, content), { maxLength: 2 }),
  workloads: fc.array(fc.tuple(name, content), { maxLength: 3 }),
})

const rule = (n: number): Rule => ({ id: n, text: `text ${n}` })
const address = (n: number): Address => ({
  ...{ address: Buffer.alloc(16, n), prefixLength: 128, identity: n },
  ...{ node: '', owner: '', nodeAddress: false },
})
const workload = (n: number): Workload =>
  ({
    ...{ uid: `uid-${n}`, namespace: 'shop', name: 'web', identity: n, addresses: [] },
    ...{ workload: '', serviceAccount: '', app: '', version: '' },
    ...{ acceleration: 0, hostNetwork: false },
  }) as Workload

/** A view after each step, each of another node. */
function viewsOf(steps: readonly Step[]): Resources[] {
  let rules = VersionedMap.empty<Rule>()
  let addresses = VersionedMap.empty<Address>()
  return steps.map(({ sets, removals, overrides, workloads }) => {
    const each = <V>(make: (n: number) => V) =>
      sets.map(([k, n]) => [k, make(n)] as const)
    rules = rules.with(each(rule), removals)
    addresses = addresses.with(each(address), removals)
    const own = new Map(overrides.map(([k, n]) => [k, address(10 + n)]))
    return {
      ...emptyResources(),
      rule: rules,
      address: new OverlayMap(addresses, own),
      workload: new Map(workloads.map(([k, n]) => [k, workload(n)])),
    }
  })
}

/** As a node holds it: what came over the wire. */
function heldOf(view: Resources): Resources {
  const upserts = kinds.flatMap((kind) =>
    [...view[kind]].map(([key, value]) => ({ name: key, body: { $case: kind, value } })),
  )
  const delta = Delta.fromPartial({ full: true, upserts: upserts as Delta['upserts'] })
  return applyDelta(emptyResources(), Delta.decode(Delta.encode(delta).finish()))
    .resources
}

function differences(from: Resources, to: Resources): string[] {
  return kinds.flatMap((kind) =>
    [...new Set([...from[kind].keys(), ...to[kind].keys()])]
      .filter((key) => !same(from[kind].get(key), to[kind].get(key)))
      .map((key) => `${kind} ${key}`),
  )
}

t.test('any holder becomes what is published, and changes exactly that', async (t) => {
  let partly = 0
  const property = fc.property(
    fc.array(fc.tuple(step, fc.nat()), { minLength: 1, maxLength: 10 }),
    (steps) => {
      const views = [emptyResources(), ...viewsOf(steps.map(([each]) => each))]
      const buckets = new ViewBuckets()
      for (const [i, [, pick]] of steps.entries()) {
        const view = views[i + 1] as Resources
        const held = heldOf(views[pick % views.length] as Resources)
        const summary = Summary.decode(Summary.encode(summarize(held)).finish())
        const { replaced, size, upserts } = buckets.missing(summary, view)
        const sent = upserts()
        t.equal(sent.length, size)
        const delta = { ...Delta.fromPartial({}), upserts: sent, replaced }
        const wire = Delta.decode(Delta.encode(delta).finish())
        const { resources, changes } = applyDelta(held, wire)
        const wanted = heldOf(view)
        t.same(differences(resources, wanted), [])
        const changed = [...changes].flatMap(([kind, some]) =>
          [...some].map((key) => `${kind} ${key}`),
        )
        t.same(changed.sort(), differences(held, wanted).sort())
        if (size > 0 && size < kinds.reduce((sum, kind) => sum + view[kind].size, 0))
          partly++
        if (changed.length === 0) t.equal(size, 0, 'equal holders are sent nothing')
      }
    },
  )
  fc.assert(property, { numRuns: 150, seed: 20261121 })
  t.ok(partly > 100, `${partly} times a part was enough`)
})

t.test('a kind that only a newer operator knew is gone', async (t) => {
  const summary = summarize({ future: new Map([['x', undefined]]) })
  const { replaced, size } = new ViewBuckets().missing(summary, emptyResources())
  t.same(replaced, [{ kind: 'future', buckets: [bucketOf('x')] }])
  t.equal(size, 0)
})

t.test('a hello with every bucket of every kind is still received', async (t) => {
  const names = Array.from({ length: 20_000 }, (_, n) => `n${n}`)
  const all = kinds.map((kind) => {
    const body = { $case: kind, value: {} } as NonNullable<Resource['body']>
    const value = Resource.fromPartial({ body }).body?.value
    return [kind, new Map(names.map((each) => [each, { ...value }]))]
  })
  const summary = summarize(Object.fromEntries(all))
  const bytes = Summary.encode(summary).finish().length
  t.ok(bytes > kinds.length * 1024 * digestBytes, 'no bucket is empty')
  t.ok(bytes < serverLimits.maxReceiveBytes - 4096, `${bytes} bytes`)
})

t.test('one change is its bucket, though the view has many', async (t) => {
  const many = Array.from({ length: 5000 }, (_, n) => [`r${n}`, rule(n)] as const)
  const rules = VersionedMap.empty<Rule>().with(many)
  const view = (map: ReadonlyMap<string, Rule>) => ({ ...emptyResources(), rule: map })
  const summary = summarize(view(rules))
  const buckets = new ViewBuckets()
  t.same(buckets.missing(summary, view(rules)).replaced, [])
  const { replaced, size } = buckets.missing(
    summary,
    view(rules.with([['r7', rule(0)]], ['r8'])),
  )
  const wanted = [bucketOf('r7'), bucketOf('r8')].sort((a, b) => a - b)
  t.same(
    replaced.map((each) => ({ ...each, buckets: each.buckets.sort((a, b) => a - b) })),
    [{ kind: 'rule', buckets: wanted }],
  )
  t.ok(size < 30, `${size} resources`)
  t.same(buckets.missing(summary, view(rules)).replaced, [], 'and back again')
})
