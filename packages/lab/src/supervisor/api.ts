// SPDX-License-Identifier: Apache-2.0
// The supervisor's interface: HTTP and JSON on a UNIX socket that only root may open.
import { chmodSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { errnoOf, LabError, messageOf } from '../errors.ts'
import { withStatus } from '../mesh/status.ts'
import { nodeBinDir, nodePaths, paths, podLog, systemCgroup } from '../paths.ts'
import { execLaunch } from '../pod/launch.ts'
import type { Launch } from '../process/launch.ts'
import type { Lab } from './lab.ts'
import { findPod } from './targets.ts'

const maxBodyBytes = 1024 * 1024

/** A route: method and path, what it answers. */
type Handler = (
  lab: Lab,
  query: URLSearchParams,
  body: Record<string, unknown>,
) => unknown

const routes: Readonly<Record<string, Handler>> = {
  'GET /status': (lab) => status(lab),
  'GET /objects': (lab, query) => objects(lab, query),
  'GET /launch': (lab, query) => launch(lab, query),
  'GET /log': (lab, query) => logFile(lab, query),
  'POST /apply': (lab, _query, body) => lab.edits.apply(String(body['path'])),
  'POST /mesh': async (lab) => {
    await lab.startMesh()
    return status(lab)
  },
  'POST /replace': async (lab, query) => {
    const node = findNode(lab, query.get('node') ?? '').name
    if (lab.mesh === undefined)
      throw new LabError('not-found', 'the lab has no mesh (pillion lab mesh)')
    await lab.mesh.replaceProxy(node, query.get('gap') === 'true')
    return {}
  },
  'POST /delete': (lab, _query, body) => {
    if (typeof body['path'] === 'string') return lab.edits.deleteFile(body['path'])
    const namespace = body['namespace']
    return lab.deleteOne(
      String(body['kind']),
      typeof namespace === 'string' ? namespace : undefined,
      String(body['name']),
    )
  },
}

function status(lab: Lab) {
  return {
    progress: lab.progress,
    dir: lab.options.dir,
    mesh: lab.mesh !== undefined,
    pid: process.pid,
    nodes: lab.nodes.map(({ name, addresses }) => ({ name, addresses })),
    processes: lab.mesh?.describe() ?? [],
    pods: lab.pods.runners.map((runner) => ({
      name: runner.name,
      node: runner.place.node,
      ready: runner.ready,
      state: runner.describe(),
      restarts: runner.restarts,
    })),
  }
}

function objects(lab: Lab, query: URLSearchParams) {
  const kind = query.get('kind') ?? undefined
  const namespace = query.get('namespace')
  return lab.source
    .list(kind)
    .filter(({ metadata }) => namespace === null || metadata.namespace === namespace)
    .map((object) => withStatus(object))
}

function target(query: URLSearchParams): {
  namespace: string
  name: string
  node?: string
} {
  const name = query.get('target') ?? ''
  const node = /^nodes?\/(.+)$/.exec(name)?.[1]
  const namespace = query.get('namespace') ?? 'default'
  return node === undefined ? { namespace, name } : { namespace, name, node }
}

/** How to start a command in a pod or on a node: the caller starts it, so that it has the caller's terminal. */
function launch(lab: Lab, query: URLSearchParams): Launch {
  const { namespace, name, node } = target(query)
  if (node === undefined)
    return execLaunch(findPod(lab.pods.runners, namespace, name).place, [])
  const { netns } = findNode(lab, node)
  return {
    cgroup: systemCgroup(node, 'exec'),
    netns,
    env: {
      PATH: `${nodeBinDir}:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: '/root',
      HOSTNAME: node,
    },
    argv: [],
  }
}

function findNode(lab: Lab, name: string) {
  const node = lab.nodes.find((candidate) => candidate.name === name)
  if (node !== undefined) return node
  const names = lab.nodes.map((candidate) => candidate.name).join(', ')
  throw new LabError('not-found', `there is no node ${name} (${names})`)
}

function logFile(lab: Lab, query: URLSearchParams): { files: string[] } {
  const { namespace, name, node } = target(query)
  if (node !== undefined) {
    const { agentLog, proxyLog } = nodePaths(findNode(lab, node).name)
    return { files: [agentLog, proxyLog] }
  }
  const { pod } = findPod(lab.pods.runners, namespace, name).place
  return { files: [podLog(pod.metadata.namespace ?? 'default', pod.metadata.name)] }
}

/** Listens on the lab's socket. */
export async function serveApi(lab: Lab): Promise<Server> {
  const server = createServer((req, res) => {
    const answer = (code: number, value: unknown): void => {
      res.writeHead(code, { 'content-type': 'application/json' })
      res.end(JSON.stringify(value))
    }
    handle(lab, req).then(
      (value) => answer(200, value),
      (error: unknown) => {
        const code = error instanceof LabError ? error.code : 'host'
        answer(code === 'not-found' ? 404 : 400, { code, message: messageOf(error) })
      },
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(paths.socket, resolve)
  })
  chmodSync(paths.socket, 0o600)
  return server
}

async function handle(lab: Lab, req: IncomingMessage): Promise<unknown> {
  const url = new URL(req.url ?? '/', 'http://lab')
  const handler = routes[`${req.method} ${url.pathname}`]
  if (handler === undefined)
    throw new LabError('not-found', `no ${req.method} ${url.pathname}`)
  let text = ''
  for await (const chunk of req) {
    text += String(chunk)
    if (text.length > maxBodyBytes)
      throw new LabError('invalid', 'the request is too large')
  }
  try {
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
    return await handler(lab, url.searchParams, body)
  } catch (error) {
    if (error instanceof LabError || errnoOf(error) === undefined) throw error
    throw new LabError('host', messageOf(error), { cause: error })
  }
}
