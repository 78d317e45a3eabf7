// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// The whole mesh on one machine, driven through an API server: pillion lab up --kubeconfig.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { remains } from '../../packages/lab/src/index.ts'
import { loadManifests } from '../../packages/lab/src/manifest/load.ts'
import { serverSideApply } from '../../packages/operator/test/support/apply.ts'
import { gatewayCrd } from '../../packages/operator/test/support/cluster.ts'
import {
  apiServers,
  type ApiServer,
  type Client,
  type Json,
} from '../support/apiserver/index.ts'
import { must, pillion, until, type Load, type Result } from '../support/lab.ts'

const repository = join(import.meta.dirname, '../..')
const shop = join(repository, 'examples/shop')
const nodes = ['node-1', 'node-2']
const routes = '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes'
const policies = '/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies'
const slices = '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices'
const deployments = '/apis/apps/v1/namespaces/shop/deployments'
const pods = '/api/v1/namespaces/shop/pods'

/** In the pod `client` of the shop. */
const client = (...command: string[]): Promise<Result> =>
  pillion(['lab', 'exec', '-n', 'shop', 'client', '--', ...command], 60_000)

const curl = (url: string, ...more: string[]): Promise<Result> =>
  client('curl', '-sS', '-m', '5', ...more, url)

/** The lab has no images, but an API server insists that pods name one. */
function withImages<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withImages) as T
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, each]: [string, unknown]) =>
    key === 'containers' && Array.isArray(each)
      ? [key, each.map((one: object) => ({ image: 'none', ...one }))]
      : [key, withImages(each)],
  )
  return Object.fromEntries(entries) as T
}

async function readyEndpoints(api: Client, service: string): Promise<number> {
  const { body } = await api.get(slices, {
    labelSelector: `kubernetes.io/service-name=${service}`,
  })
  const items = body['items'] as { endpoints: { conditions: { ready: boolean } }[] }[]
  return items.flatMap(({ endpoints }) => endpoints).filter((e) => e.conditions.ready)
    .length
}

/** Requests from the client pod until `stop`. */
async function load(url: string): Promise<{ stop(): Promise<Load> }> {
  const script = join(repository, 'test/e2e/manifests/app/load.ts')
  const argv = [
    'lab',
    'exec',
    '-n',
    'shop',
    'client',
    '--',
    'node',
    script,
    url,
    '2',
    'new',
  ]
  const child = spawn(join(repository, 'bin/pillion'), argv)
  let out = ''
  child.stdout.on('data', (data: Buffer) => (out += data.toString()))
  const ended = new Promise((resolve) => child.once('close', resolve))
  await until(`load on ${url}`, () => out.includes('ready'))
  return {
    stop: async () => {
      child.stdin.write('end\n')
      await ended
      return JSON.parse(out.split('\n')[1] ?? '{}') as Load
    },
  }
}

interface Condition {
  readonly type: string
  readonly status: string
  readonly message: string
}

async function conditionsOf(api: Client, route: string): Promise<Condition[]> {
  const { body } = await api.get(`${routes}/${route}`)
  const status = body['status'] as { parents?: { conditions: Condition[] }[] } | undefined
  return status?.parents?.[0]?.conditions ?? []
}

interface Cluster {
  readonly server: ApiServer
  readonly api: Client
  /** Server-side apply. */
  readonly apply: (object: object) => Promise<void>
}

/** In this order, on one lab. */
const checks: Readonly<Record<string, (t: Test, cluster: Cluster) => Promise<void>>> = {
  ['nodes are registered']: async (t, { server, api, apply }) => {
    for (const node of nodes) {
      const { body } = await api.get(`/api/v1/nodes/${node}`)
      const { conditions } = body['status'] as { conditions: Json[] }
      t.match(conditions, [{ type: 'Ready', status: 'True' }], node)
    }
  },

  ['the shop, applied through the API, comes up']: async (t, { server, api, apply }) => {
    for (const { object } of loadManifests(shop)) await apply(withImages(object))
    await until(
      'web has two endpoints',
      async () => (await readyEndpoints(api, 'web')) === 2,
      60_000,
    )
    await until(
      'api has three',
      async () => (await readyEndpoints(api, 'api')) === 3,
      60_000,
    )
    await until('the client is ready', async () => {
      const { body } = await api.get(`${pods}/client`)
      const { conditions = [] } = body['status'] as { conditions?: Condition[] }
      return conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
    })
  },

  ['traffic flows in the kernel and through the proxy']: async (
    t,
    { server, api, apply },
  ) => {
    await until('L4', async () => (await curl('http://web')).code === 0, 20_000)
    t.match((await curl('http://web')).out, /"offer"/)
    const l7 = await curl('http://api/', '-D', '-')
    t.match(l7.out, /HTTP\/1.1 200/, l7.err)
    const canary = await curl('http://api/', '-H', 'x-canary: yes')
    t.match(canary.out, /v2/, 'routed by header')
    const others = async () => /"version":"v1"/.test((await curl('http://api/')).out)
    await until('without it the others', others, 20_000)
  },

  ["the route's status is in the API"]: async (t, { server, api, apply }) => {
    await until('programmed', async () => {
      const conditions = await conditionsOf(api, 'api')
      return conditions.some(
        ({ type, status }) => type === 'Programmed' && status === 'True',
      )
    })
    const conditions = await conditionsOf(api, 'api')
    const of = (type: string) => conditions.find((each) => each.type === type)
    t.match(of('Accepted'), { status: 'True' })
    t.match(of('Programmed'), { status: 'True', message: /2 of 2 nodes/ })
  },

  ['a NetworkPolicy denies as soon as it is written']: async (
    t,
    { server, api, apply },
  ) => {
    const static200 = async (): Promise<boolean> =>
      (await curl('http://static')).code === 0
    t.ok(await static200())
    const { body } = await api.get(`${policies}/static`)
    await apply({
      ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
      metadata: { name: 'static', namespace: 'shop' },
      spec: {
        podSelector: { matchLabels: { app: 'static' } },
        policyTypes: ['Ingress'],
        ingress: [],
      },
    })
    const ms = await until('denied', async () => !(await static200()))
    t.comment(
      `denied after ${Math.round(ms)} ms, the start of a command in a pod included`,
    )
    await apply({
      ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
      metadata: { name: 'static', namespace: 'shop' },
      spec: body['spec'],
    })
    await until('allowed again', static200)
  },

  ['scaling a Deployment changes endpoints']: async (t, { server, api, apply }) => {
    const scale = (replicas: number) =>
      api.merge(`${deployments}/web`, { spec: { replicas } })
    t.equal((await scale(4)).code, 200)
    await until(
      'four endpoints',
      async () => (await readyEndpoints(api, 'web')) === 4,
      20_000,
    )
    const load4 = await load('http://web/healthz')
    await scale(1)
    await until(
      'one endpoint',
      async () => (await readyEndpoints(api, 'web')) === 1,
      20_000,
    )
    const { ok } = await load4.stop()
    t.ok(ok > 0, `${ok} requests`)
    await until(
      'the others are gone',
      async () => {
        const { body } = await api.get(pods, { labelSelector: 'app=web' })
        return (body['items'] as Json[]).length === 1
      },
      20_000,
    )
  },

  ['a restart of the API server disturbs nobody']: async (t, { server, api, apply }) => {
    const loads = [await load('http://static/'), await load('http://static-l7/')]
    await server.restart()
    const scaled = await server
      .client()
      .merge(`${deployments}/web`, { spec: { replicas: 2 } })
    t.equal(scaled.code, 200)
    await until(
      'changes arrive again',
      async () => (await readyEndpoints(server.client(), 'web')) === 2,
      30_000,
    )
    for (const each of loads) {
      const { ok, errors, maxGapMs } = await each.stop()
      t.same(errors, {}, `${ok} requests, ${maxGapMs} ms at most without an answer`)
      t.ok(ok > 0, `${ok} requests`)
    }
  },

  ['deleted with grace']: async (t, { server, api, apply }) => {
    await api.delete(`${pods}/client-2`, { gracePeriodSeconds: 2 })
    await until('gone', async () => (await api.get(`${pods}/client-2`)).code === 404)
  },

  ['lab apply points to kubectl']: async (t, { server, api, apply }) => {
    const { code, err } = await pillion(['lab', 'apply', '-f', join(shop, '10-web.yaml')])
    t.equal(code, 2)
    t.match(err, /use kubectl/)
  },

  ['down leaves nothing behind']: async (t, { server, api, apply }) => {
    await must(['lab', 'down'])
    t.same(remains(), [])
  },
}

for (const { name, start } of apiServers()) {
  t.test(name, async (t) => {
    const server: ApiServer = await start()
    t.teardown(() => server.close())
    const api = server.client()
    const dir = mkdtempSync(join(tmpdir(), 'pillion-kubernetes-'))
    const kubeconfig = join(dir, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig())
    const apply = serverSideApply(server.kubeconfig(), 'e2e')
    t.teardown(async () => {
      await pillion(['lab', 'down'])
      rmSync(dir, { recursive: true })
    })

    for (const kind of ['HTTPRoute', 'GRPCRoute']) {
      writeFileSync(join(dir, `${kind}.yaml`), gatewayCrd(kind))
    }
    const definitions = ['meshes', 'l7services', 'accesspolicies'].map((plural) =>
      join(repository, `manifests/crd/mesh.pillion.dev_${plural}.yaml`),
    )
    for (const file of [
      ...definitions,
      join(dir, 'HTTPRoute.yaml'),
      join(dir, 'GRPCRoute.yaml'),
    ])
      for (const { object } of loadManifests(file)) await apply(object)

    await pillion(['lab', 'down'])
    await must(['lab', 'up', shop, '--kubeconfig', kubeconfig, '--nodes', '2'], 120_000)

    const cluster = { server, api, apply }
    for (const [what, check] of Object.entries(checks))
      await t.test(what, (t) => check(t, cluster))
  })
}
