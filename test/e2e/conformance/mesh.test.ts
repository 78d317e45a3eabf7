// SPDX-License-Identifier: Apache-2.0
// timeout: 400
// The 23 mesh tests of the Gateway API's conformance suite on one lab: clients are pods, two nodes, the kernel redirects. Each
// test applies its routes, asks until everything is as it should be or 20 s are over, and deletes them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Ask, Reply } from '../../conformance/app/client.ts'
import {
  conformanceNames,
  conformanceTest,
  type Expected,
} from '../../conformance/support/cases.ts'
import { type Checks, expectReply } from '../../conformance/support/expect.ts'
import { must, pillion, sleep } from '../../support/lab.ts'

const mesh = 'gateway-conformance-mesh'
const consumer = `${mesh}-consumer`
const client = join(import.meta.dirname, '../../conformance/app/client.ts')
const scratch = mkdtempSync(join(tmpdir(), 'pillion-conformance-'))
const deadlineMs = 20_000

interface Pod {
  readonly name: string
  readonly address: string
}
let pods = new Map<string, Pod>()

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', import.meta.dirname, '--nodes', '2'], 180_000)
  pods = new Map([
    ['echo-v1', await podOf('echo-v1', mesh)],
    ['echo-v2', await podOf('echo-v2', mesh)],
    [consumer, await podOf('echo-v1', consumer)],
  ])
})
t.teardown(async () => {
  await pillion(['lab', 'down'])
  rmSync(scratch, { recursive: true, force: true })
})

async function podOf(deployment: string, namespace: string): Promise<Pod> {
  const { items } = JSON.parse(
    await must(['lab', 'get', 'Pod', '-n', namespace, '-o', 'json']),
  ) as { items: { metadata: { name: string }; status: { podIPs: { ip: string }[] } }[] }
  const pod = items.find(({ metadata }) => metadata.name.startsWith(`${deployment}-`))
  if (pod === undefined) throw new Error(`no pod of ${namespace}/${deployment}`)
  return { name: pod.metadata.name, address: pod.status.podIPs[0]?.ip ?? '' }
}

/** Sends requests from the pod echo-v1 of a namespace. */
async function askAll(asks: readonly Ask[], namespace = mesh): Promise<Reply[]> {
  const pod = pods.get(namespace === mesh ? 'echo-v1' : consumer)?.name ?? ''
  const command = ['node', client, JSON.stringify(asks)]
  const { code, out, err } = await pillion(
    ['lab', 'exec', '-n', namespace, pod, '--', ...command],
    60_000,
  )
  if (code !== 0)
    throw new Error(`client: ${code} ${out.slice(0, 500)} ${err.slice(0, 500)}`)
  return JSON.parse(out) as Reply[]
}

/** The request of a case: its Host is where it goes, and a Host header what it says. */
function askOf({ Request: request = {} }: Expected): Ask {
  const [to = 'echo', port = '80'] = (request.Host ?? 'echo').split(':')
  const grpc = request.Protocol === 'grpc'
  const { Host: host, ...headers } = request.Headers ?? {}
  return {
    ...{ to, port: Number(port), protocol: grpc ? 'grpc' : 'http', headers },
    method: request.Method ?? 'GET',
    path: grpc ? '/proto.EchoTestService/Echo' : (request.Path ?? '/'),
    host: host ?? request.Host ?? 'echo',
  }
}

/** Collects what is wrong, for tries that may come too early. */
function collector(): { failures: string[]; checks: Checks } {
  const failures: string[] = []
  const checks: Checks = {
    ok: (holds, what) => holds || failures.push(what),
    equal: (got, want, what) => got === want || failures.push(what),
    fail: (what) => failures.push(what),
  }
  return { failures, checks }
}

/** Asks until every case is as wanted three times, as the suite does, and asserts it. */
async function expectAll(
  t: Test,
  cases: readonly Expected[],
  namespace = mesh,
): Promise<void> {
  const asks = cases.map(askOf)
  const end = performance.now() + deadlineMs
  let replies: Reply[] = []
  for (;;) {
    replies = await askAll([...asks, ...asks, ...asks], namespace)
    const { failures, checks } = collector()
    for (const [i, reply] of replies.entries()) {
      const n = i % cases.length
      expectReply(checks, cases[n] ?? {}, asks[n] ?? askOf({}), reply)
    }
    if (failures.length === 0 || performance.now() > end) break
    await sleep(100)
  }
  t.ok(cases.length > 0, 'there are cases')
  for (const [n, want] of cases.entries()) {
    const [asked, reply] = [asks[n], replies[n]]
    if (asked === undefined || reply === undefined) t.fail('no reply')
    else expectReply(t, want, asked, reply)
  }
}

/** 500 requests: 70 of 100 to echo-v1, 30 to echo-v2, as the suite wants it, at most 0.1 off (five standard deviations). */
async function expectWeights(t: Test, want: Expected): Promise<void> {
  const asks = Array.from({ length: 500 }, () => askOf(want))
  const end = performance.now() + deadlineMs
  let share = 0
  do {
    const replies = await askAll(asks)
    const of = (name: string): number =>
      replies.filter(({ echo }) => echo?.pod.startsWith(`${name}-`)).length
    share = of('echo-v1') / 500
    if (Math.abs(share - 0.7) < 0.1)
      t.equal(of('echo-v2'), 500 - of('echo-v1'), 'none lost')
  } while (Math.abs(share - 0.7) >= 0.1 && performance.now() < end)
  t.ok(Math.abs(share - 0.7) < 0.1, `echo-v1 has ${share.toFixed(3)}, near 0.7`)
}

/** Cases of a test that are not, or not only, in the data. */
const own: Readonly<
  Record<string, (t: Test, cases: readonly Expected[]) => Promise<void>>
> = {
  MeshHTTPRouteWeight: (t, [want = {}]) => expectWeights(t, want),
  MeshGRPCRouteWeight: (t, [want = {}]) => expectWeights(t, want),
  MeshFrontend: async (t, [service = {}, pod = {}]) => {
    const address = pods.get('echo-v2')?.address ?? ''
    await expectAll(t, [
      service,
      { ...pod, Request: { ...pod.Request, Host: `${address}:8080` } },
    ])
  },
  MeshConsumerRoute: async (t, [inside = {}, outside = {}]) => {
    await expectAll(t, [inside], consumer)
    await expectAll(t, [outside], mesh)
  },
  // The suite says that the backend of /unnamed sees /named, which no rule does, and does not compare it.
  MeshHTTPRouteNamedRule: (t, [named = {}, unnamed = {}]) =>
    expectAll(t, [named, { ...unnamed, ExpectedRequest: {} }]),
  MeshGRPCRouteRequestHeaderModifier: (t) => expectAll(t, grpcHeaderCases()),
}

function grpcHeaderCases(): Expected[] {
  const one = (
    testCase: string,
    backend: string,
    sent: Record<string, string>,
    seen: Record<string, string>,
    absent: string[],
  ): Expected => ({
    TestCaseName: testCase,
    Backend: backend,
    Request: {
      Host: 'echo:7070',
      Protocol: 'grpc',
      Headers: { 'x-test-case': testCase, ...sent },
    },
    ExpectedRequest: { Request: { Headers: seen }, AbsentHeaders: absent },
    Response: { StatusCode: 200, Code: 0 },
  })
  const numbered = (kind: string, value: string): Record<string, string> => ({
    [`x-header-${kind}-1`]: `${value}-1`,
    [`x-header-${kind}-2`]: `${value}-2`,
  })
  return [
    one(
      'set',
      'echo-v1',
      { 'x-header-set': 'old' },
      { 'x-header-set': 'set-overwrites-values' },
      [],
    ),
    one('set', 'echo-v1', {}, { 'x-header-set': 'set-overwrites-values' }, []),
    one(
      'add',
      'echo-v1',
      { 'x-header-add': 'old' },
      { 'x-header-add': 'old,add-appends-values' },
      [],
    ),
    one('add', 'echo-v1', {}, { 'x-header-add': 'add-appends-values' }, []),
    one('remove', 'echo-v1', { 'x-header-remove': 'gone' }, {}, ['x-header-remove']),
    one(
      'multi',
      'echo-v2',
      { ...numbered('set', 'old'), ...numbered('remove', 'gone'), other: 'kept' },
      {
        ...numbered('set', 'header-set'),
        ...numbered('add', 'header-add'),
        other: 'kept',
      },
      ['x-header-remove-1', 'x-header-remove-2'],
    ),
  ]
}

const names = conformanceNames.filter((name) => name.startsWith('Mesh'))

t.test('all are here', async (t) => t.equal(names.length, 23))

for (const name of names) {
  t.test(name, async (t) => {
    const { yaml, expected } = conformanceTest(name)
    const file = join(scratch, `${name}.yaml`)
    writeFileSync(file, yaml)
    if (yaml !== '') await must(['lab', 'apply', '-f', file])
    await (own[name] ?? expectAll)(t, expected)
    if (yaml !== '') await must(['lab', 'delete', '-f', file])
  })
}

interface Route {
  readonly status: {
    conditions: { type: string; status: string; observedGeneration: number }[]
  }
}

t.test('HTTPRouteObservedGenerationBump, with a Service as parent', async (t) => {
  const apply = async (version: number): Promise<Route['status']['conditions']> => {
    const file = join(scratch, 'bump.yaml')
    const parent = `{group: '', kind: Service, name: echo}`
    writeFileSync(
      file,
      `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: bump, namespace: ${mesh}}
spec: {parentRefs: [${parent}], rules: [{backendRefs: [{name: echo-v${version}, port: 80}]}]}
`,
    )
    await must(['lab', 'apply', '-f', file])
    const backend = { Backend: `echo-v${version}` }
    await expectAll(t, [{ ...backend, Request: { Host: 'echo', Path: '/' } }])
    const get = ['lab', 'get', 'HTTPRoute', 'bump', '-n', mesh, '-o', 'json']
    return (JSON.parse(await must(get)) as Route).status.conditions
  }
  for (const [version, generation] of [
    [1, 1],
    [2, 2],
  ] as const) {
    const conditions = await apply(version)
    t.ok(conditions.length >= 2, 'Accepted and more')
    for (const { type, status, observedGeneration } of conditions) {
      t.equal(status, 'True', type)
      t.equal(observedGeneration, generation, `${type} is about generation ${generation}`)
    }
  }
})
