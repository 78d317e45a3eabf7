// SPDX-License-Identifier: Apache-2.0
// The gateway tests without a gateway: their routes are given a Service as parent, compiled by the operator's own code, and
// served by the real proxy with real backends on loopback. Only the kernel is left out; the mesh tests have it (test/e2e).
import type { Server } from 'node:net'
import {
  type Kind,
  kinds,
  type Resource,
  Role,
} from '../../../packages/contract/src/index.ts'
import { parseAllDocuments, stringify } from 'yaml'
import { listen } from '../../../packages/node-l7-proxy/test/support/http.ts'
import { startProxy } from '../../../packages/node-l7-proxy/test/support/proxy.ts'
import { viewOf } from '../../../packages/operator/src/publish/views.ts'
import type { Condition } from '../../../packages/operator/src/compile/condition.ts'
import {
  compile,
  type Compiled,
  emptyPools,
} from '../../../packages/operator/src/compile/compile.ts'
import { numberOf } from '../../../packages/operator/src/compile/pool.ts'
import { snapshotOf } from '../../../packages/operator/test/support/objects.ts'
import { ask, type Ask, type Reply } from '../app/client.ts'
import { type Backend, echoBackend } from '../app/echo.ts'
import type { ConformanceTest, Expected } from './cases.ts'

/** One proxy with its backends; tests follow each other on it. */
export interface World {
  /** Puts the test's objects, and `more` YAML, in the place of those of the test before. */
  apply(
    test: ConformanceTest,
    more?: string,
  ): Promise<ReadonlyMap<string, readonly Condition[]>>
  /** Sends a request to the Service that stands for the Gateway. */
  ask(request: Partial<Ask>): Promise<Reply>
  readonly port: number
  /** Address at which the proxy takes requests for the Service. */
  readonly address: string
  /** By name of the Deployment. */
  readonly backends: ReadonlyMap<string, Backend>
  metric(name: string): Promise<number>
  /** YAML of an EndpointSlice that leads the Service `name` to the first port of a workload. */
  sliceTo(name: string, workload: string): string
  stop(): Promise<void>
}

const infra = 'gateway-conformance-infra'
const gatewayPort = `${infra}/gateway:80/TCP`

/** The base workloads of the suite: name, namespace, and port by number with its appProtocol; `h2`: the gRPC ones. */
const workloads = [
  ...['infra-backend-v1', 'infra-backend-v2', 'infra-backend-v3'].map((name) => ({
    ...{ name, namespace: infra, h2: false },
  })),
  ...['grpc-infra-backend-v1', 'grpc-infra-backend-v2', 'grpc-infra-backend-v3'].map(
    (name) => ({ name, namespace: infra, h2: true }),
  ),
  { name: 'app-backend-v1', namespace: 'gateway-conformance-app-backend', h2: false },
  { name: 'web-backend', namespace: 'gateway-conformance-web-backend', h2: false },
] as const

interface Manifest {
  kind: string
  metadata: { name: string; namespace: string; labels?: Record<string, string> }
  spec?: Record<string, unknown>
  [field: string]: unknown
}

type Match = { headers?: object[] }
type Rule = { matches?: Match[] }

/** The route for the Service, with hostnames, which a mesh ignores (GEP-1294), as matches of the Host field. */
function adopted(route: Manifest): Manifest {
  const {
    hostnames = [],
    rules = [],
    ...spec
  } = (route.spec ?? {}) as {
    hostnames?: string[]
    rules?: Rule[]
  }
  const spread = ({ matches = [{}], ...rest }: Rule): Rule => ({
    ...rest,
    matches: matches.flatMap((match) =>
      hostnames.map((value) => ({
        ...match,
        headers: [...(match.headers ?? []), { name: 'Host', value }],
      })),
    ),
  })
  const parentRefs = [{ group: '', kind: 'Service', name: 'gateway', namespace: infra }]
  return {
    ...route,
    spec: {
      ...spec,
      parentRefs,
      rules: hostnames.length > 0 ? rules.map(spread) : rules,
    },
  }
}

function service(
  name: string,
  namespace: string,
  ports: readonly object[],
  ip: number,
): Manifest {
  const spec = { clusterIP: `10.96.0.${ip}`, selector: { app: name }, ports }
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec }
}

function slice(
  name: string,
  namespace: string,
  ports: Readonly<Record<string, number>>,
): Manifest {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-1`,
      namespace,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    ports: Object.entries(ports).map(([port, number]) => ({ name: port, port: number })),
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
  }
}

/** Starts backends and a proxy that knows nothing yet. */
export async function startWorld(): Promise<World> {
  const closers: (() => Promise<void>)[] = []
  const open = async (server: Server): Promise<number> => {
    const { port, close } = await listen(server)
    closers.push(close)
    return port
  }
  const backends = new Map<string, Backend>()
  const firstPorts = new Map<string, number>()
  const base: Manifest[] = []
  for (const [i, { name, namespace, h2 }] of workloads.entries()) {
    const backend = echoBackend(`${name}-0`, namespace)
    backends.set(name, backend)
    const [http1, http2] = [await open(backend.http), await open(backend.h2)]
    firstPorts.set(name, h2 ? http2 : http1)
    base.push(...workload(name, namespace, i + 2, h2, http1, http2))
  }
  let pools = emptyPools()
  let held: readonly Resource[] = []
  const compileWith = (yaml: string): Compiled => {
    const { snapshot, errors } = snapshotOf(yaml)
    if (errors.length > 0) throw new Error(JSON.stringify(errors))
    const compiled = compile(snapshot, pools)
    pools = compiled.pools
    return compiled
  }
  const gateway = service(
    'gateway',
    infra,
    [{ name: 'http', port: 80, appProtocol: 'http' }],
    1,
  )
  const always = [gateway, ...base].map((each) => stringify(each)).join('---\n')
  const first = viewOf(compileWith(always), 'node-1', Role.PROXY)
  const id = numberOf(pools.servicePorts, gatewayPort)
  held = resourcesOf(first)
  const proxy = await startProxy(held)
  const address = `127.0.0.${id}`
  return {
    ...{ address, port: proxy.port, backends },
    apply: async (test, more = '') => {
      const objects = parseAllDocuments(`${test.yaml}\n---\n${more}`).flatMap(
        (document) => {
          const object = document.toJS() as Manifest | null
          return object === null
            ? []
            : [object.kind.endsWith('Route') ? adopted(object) : object]
        },
      )
      const own = objects.map((each) => stringify(each)).join('---\n')
      const compiled = compileWith(`${always}\n---\n${own}`)
      const wanted = resourcesOf(viewOf(compiled, 'node-1', Role.PROXY))
      const keys = new Set(wanted.map(keyOf))
      const gone = held.filter((each) => !keys.has(keyOf(each)))
      const removals = gone.map(({ name, body }) => ({ kind: body?.$case as Kind, name }))
      held = wanted
      const ack = await proxy.operator.send(wanted, removals)
      if (ack.error !== '') throw new Error(ack.error)
      return compiled.conditions
    },
    ask: (request) =>
      ask({
        ...{ to: address, port: proxy.port, protocol: 'http', method: 'GET', path: '/' },
        ...{ host: 'gateway', headers: {}, ...request },
      }),
    sliceTo: (name, to) =>
      stringify(slice(name, infra, { 'first-port': firstPorts.get(to) ?? 0 })),
    metric: (name) => proxy.metric(name),
    stop: async () => {
      await proxy.stop()
      await Promise.all(closers.map((close) => close()))
    },
  }
}

/** A Service with the three ports of the suite's, and its endpoint. */
function workload(
  name: string,
  namespace: string,
  ip: number,
  h2: boolean,
  http1: number,
  http2: number,
): Manifest[] {
  const first = h2 ? { appProtocol: 'kubernetes.io/h2c' } : {}
  const ports = [
    { name: 'first-port', port: 8080, ...first },
    { name: 'second-port', port: 8081, appProtocol: 'kubernetes.io/h2c' },
    { name: 'third-port', port: 8082, appProtocol: 'kubernetes.io/ws' },
  ]
  const numbers = {
    'first-port': h2 ? http2 : http1,
    'second-port': http2,
    'third-port': http1,
  }
  return [service(name, namespace, ports, ip), slice(name, namespace, numbers)]
}

function keyOf({ name, body }: Resource): string {
  return `${body?.$case} ${name}`
}

function resourcesOf(
  view: Readonly<Record<Kind, ReadonlyMap<string, unknown>>>,
): Resource[] {
  return kinds.flatMap((kind) =>
    [...view[kind]].map(([name, value]) => ({
      name,
      body: { $case: kind, value } as Resource['body'],
    })),
  )
}

/** The request of a case. */
export function askOf(want: Expected): Partial<Ask> {
  const { Request: request = {}, BackendSetResponseHeaders: set } = want
  const wanted = set && Object.entries(set).map(([name, value]) => `${name}:${value}`)
  return {
    method: request.Method ?? 'GET',
    path: request.Path ?? '/',
    host: request.Host ?? 'gateway',
    headers: {
      ...request.Headers,
      ...(wanted && { 'x-echo-set-header': wanted.join(',') }),
    },
    ...(request.Protocol === 'H2C_PRIOR_KNOWLEDGE' && { protocol: 'h2c' }),
  }
}
