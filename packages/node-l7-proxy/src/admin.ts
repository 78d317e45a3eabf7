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
  server.listen(path, () => {
    resolve(undefined)
  })
  await promise
  chmodSync(path, 0o660)
  return server
}
