// SPDX-License-Identifier: Apache-2.0
// HTTP on a UNIX socket, served by the parent: a scrape never adds latency to a request.
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'

export type Answer = {
  readonly status: number
  readonly type: string
  readonly body: string
}
export type AdminTable = Readonly<Record<string, () => Answer | Promise<Answer>>>

export const textAnswer = (status: number, body: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${body}\n`,
})

export const jsonAnswer = (value: unknown): Answer => ({
  status: 200,
  type: 'application/json',
  body: `${JSON.stringify(value, null, 2)}\n`,
})

/** Serves the table at `path` (mode 0660). A socket that a dead process left is replaced. */
export async function serveAdmin(path: string, table: AdminTable): Promise<Server> {
  rmSync(path, { force: true })
  const server = await listen(table, (server) => server.listen(path))
  chmodSync(path, 0o660)
  return server
}

/**
 * Serves what a kubelet asks on 127.0.0.1: it cannot ask a UNIX socket, and a probe that is a process costs more than the
 * answer. Nothing else, for every process of the node's network may ask. Throws when the port is taken.
 */
export async function serveHealth(port: number, table: AdminTable): Promise<Server> {
  const asked = ['/healthz', '/readyz']
  const entries = Object.entries(table).filter(([path]) => asked.includes(path))
  return listen(Object.fromEntries(entries), (server) => server.listen(port, '127.0.0.1'))
}

async function listen(
  table: AdminTable,
  start: (server: Server) => Server,
): Promise<Server> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://admin')
    const handler = table[url.pathname]
    const answer =
      handler === undefined ? textAnswer(404, Object.keys(table).join('\n')) : handler()
    Promise.resolve(answer)
      .catch((error: unknown) => textAnswer(500, String(error)))
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type }).end(body)
      })
      .catch(() => response.destroy())
  })
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  server.once('error', reject)
  start(server).once('listening', () => {
    resolve(undefined)
  })
  await promise
  return server
}
