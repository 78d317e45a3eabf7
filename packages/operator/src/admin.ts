// SPDX-License-Identifier: Apache-2.0
// The admin endpoint: HTTP on a UNIX socket. It dumps the values that the operator itself uses.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { formatAddress, Role, type Resources, isMap } from '@pillion/contract'
import { formatError } from './api/object.ts'
import { messageOf, OperatorError } from './errors.ts'
import type { Control } from './operator.ts'
import { prepareSocket } from './publish/server.ts'

/** Serves `control` at `path`; the socket's mode is what the umask leaves. Throws an OperatorError `LISTEN`. */
export async function serveAdmin(
  path: string,
  control: Control,
): Promise<{ close(): Promise<void> }> {
  await prepareSocket(path)
  const server = createServer((request, response) => {
    answer(control, request, response).catch((error: unknown) => {
      send(response, 500, { error: messageOf(error) })
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new OperatorError('LISTEN', `${path}: ${error.message}`, { cause: error })),
    )
    server.listen(path, resolve)
  })
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  control: Control,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://operator')
  if (request.method !== 'GET') {
    send(response, 405, { error: 'only GET' })
    return
  }
  switch (url.pathname) {
    case '/healthz':
      send(response, 200, { ok: true })
      return
    case '/readyz':
      send(response, control.ready ? 200 : 503, { ready: control.ready })
      return
    case '/metrics':
      response.setHeader('content-type', control.metrics.registry.contentType)
      response.end(await control.metrics.registry.metrics())
      return
    case '/debug/status':
      send(response, 200, debugStatus(control))
      return
    case '/debug/config':
      debugConfig(control, url.searchParams, response)
      return
    default:
      send(response, 404, {
        error: `${url.pathname} does not exist`,
        paths: [
          '/healthz',
          '/readyz',
          '/metrics',
          '/debug/status',
          '/debug/config?node=NAME&role=agent|proxy',
        ],
      })
  }
}

function debugStatus(control: Control) {
  const { version, subscribers, objects, errors } = control.status()
  return {
    epoch: control.publisher.epoch,
    version,
    nodeNames: control.nodes(),
    nodes: subscribers,
    objects,
    errors: errors.map((error) => ({ ...error, text: formatError(error) })),
  }
}

function debugConfig(
  control: Control,
  query: URLSearchParams,
  response: ServerResponse,
): void {
  const node = query.get('node') ?? ''
  const role = query.get('role') ?? 'agent'
  if (node === '' || (role !== 'agent' && role !== 'proxy')) {
    send(response, 400, {
      error: 'say which: /debug/config?node=NAME&role=agent or proxy',
    })
    return
  }
  const view = control.publisher.view(node, role === 'proxy' ? Role.PROXY : Role.AGENT)
  send(response, 200, {
    node,
    role,
    version: control.publisher.version,
    resources: readable(view),
  })
}

/** Resources for people: maps as records, addresses as text. */
function readable(value: Resources[keyof Resources] | Resources): unknown {
  return JSON.parse(
    JSON.stringify(
      value,
      function (this: Record<string, unknown>, key: string, item: unknown) {
        // JSON.stringify has called Buffer's toJSON already; the holder still has the bytes.
        const raw = this[key]
        if (raw instanceof Uint8Array)
          return raw.length === 16 ? formatAddress(raw) : item
        return isMap(raw) ? Object.fromEntries(raw) : item
      },
    ),
  )
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}
