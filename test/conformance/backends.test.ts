// SPDX-License-Identifier: Apache-2.0
// timeout: 180
// Conformance tests of where requests go: weights, protocols, mirrors, time-outs, retries, invalid backends.
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { until } from '../../packages/node-l7-proxy/test/support/wait.ts'
import type { Ask, Reply } from './app/client.ts'
import { conformanceTest } from './support/cases.ts'
import { runCase, runCases } from './support/run.ts'
import { startWorld, type World } from './support/world.ts'

const world = await startWorld()
t.teardown(() => world.stop())

async function get(path: string, more: Partial<Ask> = {}): Promise<Reply> {
  return world.ask({ path, ...more })
}

/** Share of each backend of `count` requests. */
async function shares(count: number, more: Partial<Ask>): Promise<Map<string, number>> {
  const out = new Map<string, number>()
  for (let i = 0; i < count; i++) {
    const { echo } = await world.ask(more)
    const name = echo?.pod.replace(/-0$/, '') ?? 'none'
    out.set(name, (out.get(name) ?? 0) + 1 / count)
  }
  return out
}

/** 500 requests at 0.7 have a standard deviation of 0.02: the suite's 0.05 would fail once in 80 runs, 0.1 never. */
function near(t: Test, got: number | undefined, want: number, what: string): void {
  t.ok(Math.abs((got ?? 0) - want) < 0.1, `${what}: ${got?.toFixed(3)} is near ${want}`)
}

for (const name of ['HTTPRouteWeight', 'GRPCRouteWeight']) {
  t.test(name, async (t) => {
    await world.apply(conformanceTest(name))
    const grpc = name.startsWith('GRPC')
    const path = grpc ? '/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo' : '/'
    const got = await shares(500, { path, protocol: grpc ? 'grpc' : 'http' })
    const of = (version: number): string =>
      `${grpc ? 'grpc-' : ''}infra-backend-v${version}`
    near(t, got.get(of(1)), 0.7, of(1))
    near(t, got.get(of(2)), 0.3, of(2))
    t.same([...got.keys()].sort(), [of(1), of(2)], 'nothing at weight 0, nothing lost')
  })
}

t.test('HTTPRouteRequestHeaderModifierBackendWeights', async (t) => {
  await world.apply(conformanceTest('HTTPRouteRequestHeaderModifierBackendWeights'))
  const seen = new Set<string>()
  for (let i = 0; i < 50; i++) {
    const { echo } = await get('/')
    t.equal(`${echo?.headers['backend']}-0`, echo?.pod, 'each backend its own header')
    seen.add(echo?.pod ?? '')
  }
  t.equal(seen.size, 2)
})

t.test('HTTPRouteBackendProtocolH2C', async (t) => {
  const test = conformanceTest('HTTPRouteBackendProtocolH2C')
  await world.apply(test)
  // The suite's client speaks HTTP/2 to the Gateway; this Service is declared HTTP/1.1, so the proxy translates.
  for (const want of test.expected) {
    await runCase(t, world, { ...want, Request: { ...want.Request, Protocol: '' } })
  }
  t.equal((await get('/')).echo?.protocol, 'HTTP/2.0')
})

t.test('HTTPRouteBackendProtocolWebSocket', async (t) => {
  await world.apply(conformanceTest('HTTPRouteBackendProtocolWebSocket'))
  const headers = { connection: 'Upgrade', upgrade: 'websocket', host: 'gateway' }
  const { address: host, port } = world
  const request = httpRequest({ host, port, path: '/ws', headers, agent: false }).end()
  const [response, socket, head] = (await once(request, 'upgrade')) as [
    { statusCode: number },
    Duplex,
    Buffer,
  ]
  t.equal(response.statusCode, 101)
  let got = String(head)
  socket.on('data', (data: Buffer) => (got += String(data)))
  socket.write('ping')
  await until(() => got.includes('ping'), 'the echo')
  t.equal(got, 'infra-backend-v1-0\nping')
  socket.destroy()
})

for (const name of ['HTTPRouteRequestMirror', 'HTTPRouteRequestMultipleMirrors']) {
  t.test(name, async (t) => {
    const test = conformanceTest(name)
    await world.apply(test)
    for (const want of test.expected) {
      for (const { seen } of world.backends.values()) seen.length = 0
      await runCase(t, world, want)
      const path = want.Request?.Path ?? ''
      for (const { BackendRef } of want.MirroredTo ?? []) {
        const { seen = [] } = world.backends.get(BackendRef.Name) ?? {}
        await until(() => seen.includes(path), `${BackendRef.Name} has a copy of ${path}`)
        t.same(seen, [path], `one copy at ${BackendRef.Name}`)
      }
    }
  })
}

t.test('HTTPRouteRequestPercentageMirror', async (t) => {
  const test = conformanceTest('HTTPRouteRequestPercentageMirror')
  await world.apply(test)
  const mirror = world.backends.get('infra-backend-v2')
  const settled = async (): Promise<number> =>
    (await world.metric('pillion_mirrored_total')) +
    (await world.metric('pillion_mirrors_dropped_total'))
  for (const want of test.expected) {
    await runCase(t, world, want)
    if (mirror === undefined) throw new Error('no backend v2')
    mirror.seen.length = 0
    const before = await settled()
    for (let i = 0; i < 400; i++) await get(want.Request?.Path ?? '/')
    // The last copies may still be on their way: a copy that arrived is counted when it was answered.
    await until(
      async () => (await settled()) - before >= mirror.seen.length,
      'copies are answered',
    )
    near(
      t,
      mirror.seen.length / 400,
      (want.MirroredTo?.[0]?.Percent ?? 0) / 100,
      want.Request?.Path ?? '',
    )
  }
})

for (const name of ['HTTPRouteTimeoutRequest', 'HTTPRouteTimeoutBackendRequest']) {
  t.test(name, (t) => runCases(t, world, conformanceTest(name)))
}

let uuid = 0
/** Fails `times` times with `code` (absent: by a reset), then succeeds. */
function failing(path: string, times: number, code?: number, delayRetry = ''): string {
  const response = code === undefined ? '' : `&responseCode=${code}`
  return `${path}?uuid=u${++uuid}&succeedAfter=${times}${response}${delayRetry}`
}

t.test('HTTPRouteRetry', async (t) => {
  await world.apply(conformanceTest('HTTPRouteRetry'))
  const status = async (path: string): Promise<number> => (await get(path)).status
  const three = '/retry/code-500-attempts-3'
  t.equal(await status(failing(three, 2, 500)), 200)
  t.equal(await status(failing(three, 4, 500)), 500, 'the original error surfaces')
  t.equal(await status(failing(three, 2, 503)), 503, 'not listed, not tried again')
  for (const code of [500, 502, 503, 504]) {
    t.equal(await status(failing('/retry/code-all-attempts-2', 1, code)), 200, `${code}`)
    t.equal(
      await status(failing('/retry/code-all-attempts-2', 3, code)),
      code,
      `${code} thrice`,
    )
  }
})

t.test('HTTPRouteRetryConnectionError', async (t) => {
  await world.apply(conformanceTest('HTTPRouteRetryConnectionError'))
  const path = '/retry/no-status-code-attempts-3'
  t.equal((await get(failing(path, 2))).status, 200)
  t.equal((await get(failing(path, 4))).status, 503)
})

t.test('HTTPRouteRetryWithTimeouts', async (t) => {
  await world.apply(conformanceTest('HTTPRouteRetryWithTimeouts'))
  const slow = '&delayRetry=300ms'
  const status = async (path: string): Promise<number> => (await get(path)).status
  t.equal(
    await status(failing('/retry/backend-request-timeout-200ms', 2, 500, slow)),
    200,
  )
  t.equal(
    await status(failing('/retry/backend-request-timeout-200ms', 3, 500, slow)),
    504,
  )
  t.equal(await status(failing('/retry/request-timeout-200ms', 3, 500, slow)), 504)
})

/** Requests to `path` get `status`, and the route's ResolvedRefs says why. */
async function expectInvalid(
  t: Test,
  world: World,
  name: string,
  reason: string,
): Promise<void> {
  const conditions = await world.apply(conformanceTest(name))
  const said = [...conditions].filter(([key]) => key.startsWith('HTTPRoute/'))
  t.match(said[0]?.[1], [
    { type: 'Accepted', status: 'True' },
    { type: 'ResolvedRefs', status: 'False', reason },
  ])
  const reply = await get('/')
  t.equal(reply.status, 500)
}

t.test('HTTPRouteInvalidNonExistentBackendRef, its condition', (t) =>
  expectInvalid(t, world, 'HTTPRouteInvalidNonExistentBackendRef', 'BackendNotFound'),
)
t.test('HTTPRouteInvalidBackendRefUnknownKind, its condition', (t) =>
  expectInvalid(t, world, 'HTTPRouteInvalidBackendRefUnknownKind', 'InvalidKind'),
)

t.test('HTTPRoutePartiallyInvalidViaInvalidReferenceGrant', async (t) => {
  // In a mesh no ReferenceGrant is asked for (GEP-1294): what is invalid here is that app-backend-v2 does not exist.
  await runCases(
    t,
    world,
    conformanceTest('HTTPRoutePartiallyInvalidViaInvalidReferenceGrant'),
  )
})

t.test('HTTPRouteServiceTypes', async (t) => {
  const test = conformanceTest('HTTPRouteServiceTypes')
  const names = ['manual-endpointslices', 'headless-manual-endpointslices', 'headless']
  // The suite fills in the addresses of pods; here all pods are on loopback.
  const yaml = test.yaml
    .split('---')
    .filter((each) => !each.includes('kind: EndpointSlice'))
    .join('---')
  const slices = names.map((name) => world.sliceTo(name, 'infra-backend-v1'))
  await world.apply({ ...test, yaml }, slices.join('---\n'))
  for (const name of names) {
    const reply = await get(`/${name}`)
    t.equal(reply.status, 200, name)
    t.equal(reply.echo?.pod, 'infra-backend-v1-0', name)
  }
})
