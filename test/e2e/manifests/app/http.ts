// SPDX-License-Identifier: Apache-2.0
// Answers with its name; /flaky/KEY/N fails the first N times for a key; /slow takes a second; POST echoes.
import { createServer } from 'node:http'

const name = process.env['POD_NAME'] ?? 'unknown'
const failures = new Map<string, number>()

createServer((request, response) => {
  const [, kind, key = '', times = '0'] = (request.url ?? '/').split('/')
  response.setHeader('x-pod', name)
  if (kind === 'flaky') {
    const seen = (failures.get(key) ?? 0) + 1
    failures.set(key, seen)
    if (seen <= Number(times)) {
      response.writeHead(503).end(`${name} fails ${key} ${seen}\n`)
      return
    }
  }
  if (request.method === 'POST') {
    request.pipe(response)
    return
  }
  const answer = (): void => {
    response.end(
      JSON.stringify({ pod: name, path: request.url, headers: request.headers }) + '\n',
    )
  }
  if (kind === 'slow') setTimeout(answer, 1000)
  else answer()
}).listen(8080, '::')
