// SPDX-License-Identifier: Apache-2.0
// The operator from end to end: files in, deltas out over a real socket, refusals and restarts.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Role } from '@pillion/contract'
import t, { type Test } from 'tap'
import { node, pod, service, slice } from './support/objects.ts'
import { Fixture, until } from './support/running.ts'

interface Status {
  version: number
  epoch: string
  nodes: {
    node: string
    role: string
    connected: boolean
    current: boolean
    ackedVersion: number
    nack?: { version: number; reason: string }
  }[]
  objects: {
    kind: string
    name: string
    observedGeneration: number
    conditions: { type: string; status: string; reason: string; message: string }[]
  }[]
  errors: { text: string }[]
}

const route = (path: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: web}]
  rules: [{matches: [{path: {type: Exact, value: ${path}}}], backendRefs: [{name: web, port: 80}]}]
`

async function start(t: Test): Promise<Fixture> {
  const fixture = new Fixture(t)
  fixture.write('node.yaml', node('node-1', '10.245.0.1'))
  fixture.write(
    'web.yaml',
    pod('shop', 'web', '10.244.1.2') + service('shop', 'web', '10.96.0.5'),
  )
  fixture.write('slice.yaml', slice('shop', 'web', ['10.244.1.2']))
  await fixture.start()
  return fixture
}

const current = (status: Status): boolean =>
  status.nodes.length > 0 && status.nodes.every((each) => each.connected && each.current)

const condition = (status: Status, kind: string, type: string) =>
  status.objects
    .find((object) => object.kind === kind)
    ?.conditions.find((each) => each.type === type)

t.test('each role gets its view once, then only what changed', async (t) => {
  const fixture = await start(t)
  const agent = fixture.subscribe('node-1', Role.AGENT)
  const proxy = fixture.subscribe('node-1', Role.PROXY)
  await fixture.status<Status>(
    'both current',
    (status) => status.nodes.length === 2 && current(status),
  )
  t.same([...agent.resources().endpoint.keys()], ['shop/web:80/TCP|10.244.1.2:8080'])
  t.match(agent.resources().address.get('10.245.0.1/128'), {
    identity: 2,
    nodeAddress: true,
  })
  t.equal(proxy.resources().servicePort.size, 0, 'nothing is declared L7')
  t.equal(proxy.resources().address.size, 0)

  fixture.write('slice.yaml', slice('shop', 'web', ['10.244.1.2', '10.244.1.9']))
  await until('a second endpoint', () => agent.updates.length === 2)
  t.same(agent.updates[1], { endpoint: ['shop/web:80/TCP|10.244.1.9:8080'] })
  await fixture.status<Status>('both current', current)
  t.equal(proxy.updates.length, 1, 'the proxy does not hear of it')

  fixture.write('route.yaml', route('/v1'))
  await until(
    'declared',
    () => proxy.resources().routeTable.size === 1 && agent.updates.length === 3,
  )
  t.same(agent.updates[2], { servicePort: ['shop/web:80/TCP'] })
  t.same(Object.keys(proxy.updates[1] ?? {}).sort(), [
    'endpoint',
    'routeTable',
    'servicePort',
  ])
  const status = await fixture.status<Status>(
    'programmed',
    (each) => condition(each, 'HTTPRoute', 'Programmed')?.status === 'True',
  )
  t.equal(
    condition(status, 'HTTPRoute', 'Programmed')?.message,
    'acknowledged by 1 of 1 nodes',
  )

  fixture.remove('route.yaml')
  await until('undeclared', () => proxy.resources().routeTable.size === 0)
  t.equal(proxy.resources().endpoint.size, 0)
})

t.test(
  'an invalid object: clear error, the last good stays, its status file says both',
  async (t) => {
    const fixture = await start(t)
    fixture.write('route.yaml', route('/v1'))
    const proxy = fixture.subscribe('node-1', Role.PROXY)
    await until('routed', () => proxy.resources().routeTable.size === 1)
    fixture.write('route.yaml', route('v2'))
    const status = await fixture.status<Status>(
      'error',
      ({ errors }) => errors.length === 1,
    )
    t.equal(
      status.errors[0]?.text,
      'route.yaml: HTTPRoute shop/web: spec.rules[0].matches[0].path.value: must start with "/"',
    )
    t.equal(
      proxy.resources().routeTable.get('shop/web:80/TCP')?.rules[0]?.match?.path?.value,
      '/v1',
    )
    await until(
      'file',
      () =>
        existsSync(join(fixture.dir, 'status/shop/HTTPRoute.web.yaml')) &&
        fixture.statusFile('shop/HTTPRoute.web.yaml').includes('Invalid'),
    )
    t.match(
      fixture.statusFile('shop/HTTPRoute.web.yaml'),
      /last good version stays in force/,
    )
    t.match(
      fixture.statusFile('STATUS.yaml'),
      /route\.yaml: HTTPRoute shop\/web: spec\.rules/,
    )
    fixture.write('route.yaml', route('/v2'))
    await until(
      'the next good one',
      () =>
        proxy.resources().routeTable.get('shop/web:80/TCP')?.rules[0]?.match?.path
          ?.value === '/v2',
    )
    fixture.remove('route.yaml')
    await until(
      'no file',
      () => !existsSync(join(fixture.dir, 'status/shop/HTTPRoute.web.yaml')),
    )
  },
)

t.test('a refusal is in status, and does not stop what comes next', async (t) => {
  const fixture = await start(t)
  const agent = fixture.subscribe('node-1', Role.AGENT)
  fixture.subscribe('node-1', Role.PROXY)
  await fixture.status<Status>(
    'both current',
    (status) => status.nodes.length === 2 && current(status),
  )
  agent.refuse = ({ servicePort }) =>
    servicePort.get('shop/web:80/TCP')?.l7Protocol === 1 ? 'no room' : undefined
  fixture.write('route.yaml', route('/v1'))
  const refused = await fixture.status<Status>('refused', ({ nodes }) =>
    nodes.some(({ nack }) => nack?.reason === 'no room'),
  )
  t.match(condition(refused, 'HTTPRoute', 'Programmed'), {
    status: 'False',
    reason: 'Refused',
    message: 'acknowledged by 0 of 1 nodes; not yet by node-1; node-1 agent: no room',
  })
  t.equal(
    agent.resources().servicePort.get('shop/web:80/TCP')?.l7Protocol,
    0,
    'the last good stays',
  )
  agent.refuse = undefined
  fixture.write('slice.yaml', slice('shop', 'web', ['10.244.1.7']))
  await fixture.status<Status>('accepted', current)
  t.equal(agent.resources().servicePort.get('shop/web:80/TCP')?.l7Protocol, 1)
  t.same([...agent.resources().endpoint.keys()], ['shop/web:80/TCP|10.244.1.7:8080'])
})

t.test(
  'a restarted operator: same numbers, everything once, nothing lost meanwhile',
  async (t) => {
    const fixture = await start(t)
    fixture.write('more.yaml', pod('shop', 'other', '10.244.1.5'))
    const agent = fixture.subscribe('node-1', Role.AGENT)
    const before = await fixture.status<Status>(
      'current',
      (status) => current(status) && agent.resources().workload.size === 2,
    )
    const identity = agent.resources().workload.get('shop/other')?.identity
    await fixture.stop()
    // The first pod goes: without memory the other one would now be the first to get a number.
    fixture.write('web.yaml', service('shop', 'web', '10.96.0.5'))
    t.equal(
      agent.resources().workload.size,
      2,
      'the last good stays while the operator is away',
    )
    await fixture.start()
    const after = await fixture.status<Status>('current again', current)
    t.not(after.epoch, before.epoch)
    await until('one pod', () => agent.resources().workload.size === 1)
    t.equal(agent.resources().workload.get('shop/other')?.identity, identity)
  },
)

t.test(
  'a restart while a manifest is broken does not withdraw the last good version',
  async (t) => {
    const fixture = await start(t)
    fixture.write('route.yaml', route('/v1'))
    fixture.write('gone.yaml', pod('shop', 'gone', '10.244.1.6'))
    const proxy = fixture.subscribe('node-1', Role.PROXY)
    const path = () =>
      proxy.resources().routeTable.get('shop/web:80/TCP')?.rules[0]?.match?.path?.value
    await until('routed', () => path() === '/v1' && proxy.resources().workload.size === 2)
    fixture.write('route.yaml', route('v2'))
    fixture.write('gone.yaml', 'kind: [')
    await fixture.status<Status>('errors', ({ errors }) => errors.length === 2)
    await fixture.stop()
    fixture.remove('gone.yaml')
    await fixture.start()
    const status = await fixture.status<Status>('current', current)
    t.equal(status.errors.length, 1)
    t.equal(path(), '/v1')
    t.equal(proxy.resources().workload.size, 1, 'a file that went meanwhile is gone')
    fixture.write('route.yaml', route('/v3'))
    await until('repaired', () => path() === '/v3')
  },
)

t.test('a broken stream resumes: only what changed meanwhile is sent', async (t) => {
  const fixture = await start(t)
  const first = fixture.subscribe('node-1', Role.AGENT)
  await fixture.status<Status>('current', current)
  // The same operator sees the stream go and come: a new subscription cannot resume, so break the transport below it.
  const { version, epoch } = first.subscription.state() as {
    version: number
    epoch: string
  }
  await first.subscription.close()
  fixture.write('slice.yaml', slice('shop', 'web', ['10.244.1.2', '10.244.1.8']))
  await fixture.status<Status>('published', (status) => status.version > version)
  const { credentials } = await import('@grpc/grpc-js')
  const { contractVersion, NodeConfigClient } = await import('@pillion/contract')
  const client = new NodeConfigClient(fixture.address, credentials.createInsecure())
  t.teardown(() => client.close())
  const open = async (resumeVersion: number, resumeEpoch: string) => {
    const stream = client.watch()
    stream.on('error', () => undefined)
    stream.write({
      message: {
        $case: 'hello',
        value: {
          node: 'node-1',
          role: Role.AGENT,
          softwareVersion: '0',
          contractVersion,
          resumeVersion,
          resumeEpoch,
          mapLayout: '',
          summary: undefined,
          degraded: [],
        },
      },
    })
    const delta = await new Promise<import('@pillion/contract').Delta>((resolve) =>
      stream.once('data', resolve),
    )
    stream.cancel()
    return delta
  }
  const resumed = await open(version, epoch)
  t.match(resumed, { full: false, removals: [] })
  t.same(
    resumed.upserts.map(({ name }) => name),
    ['shop/web:80/TCP|10.244.1.8:8080'],
  )
  t.equal((await open(version, 'another')).full, true)
  t.equal((await open(4711, epoch)).full, true)
})

t.test('a client that speaks another contract is refused', async (t) => {
  const fixture = await start(t)
  const { credentials, status } = await import('@grpc/grpc-js')
  const { NodeConfigClient } = await import('@pillion/contract')
  const client = new NodeConfigClient(fixture.address, credentials.createInsecure())
  t.teardown(() => client.close())
  const stream = client.watch()
  stream.write({
    message: {
      $case: 'hello',
      value: {
        node: 'n',
        role: Role.AGENT,
        softwareVersion: '9',
        contractVersion: 99,
        resumeVersion: 0,
        resumeEpoch: '',
        mapLayout: '',
        summary: undefined,
        degraded: [],
      },
    },
  })
  stream.on('data', () => t.fail('no delta for it'))
  const error = await new Promise<{ code: number }>((resolve) =>
    stream.once('error', (e) => resolve(e as unknown as { code: number })),
  )
  t.equal(error.code, status.FAILED_PRECONDITION)
})

t.test('the admin endpoint', async (t) => {
  const fixture = await start(t)
  t.equal((await fixture.get('/healthz')).status, 200)
  t.equal((await fixture.get('/readyz')).status, 200)
  t.match(
    (await fixture.get('/metrics')).body,
    /pillion_operator_objects\{kind="Pod"\} 1/,
  )
  const { status, body } = await fixture.get('/debug/config?node=node-1')
  t.equal(status, 200)
  t.match(JSON.parse(body), {
    resources: {
      address: { '10.244.1.2/128': { address: '10.244.1.2', identity: 256 } },
    },
  })
  t.equal((await fixture.get('/debug/config')).status, 400)
  t.equal((await fixture.get('/nothing')).status, 404)
})

t.test('a second operator on the same sockets refuses to start', async (t) => {
  const fixture = await start(t)
  await t.rejects(fixture.start(), { code: 'LISTEN' })
})
