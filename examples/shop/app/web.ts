// SPDX-License-Identifier: Apache-2.0
// The front end: counts visits in Redis, asks the API, answers with what both said.
// It passes `traceparent` on: the one thing that a mesh cannot do for an application.
import { createServer } from 'node:http'
import { connect } from 'node:net'

const apiUrl = process.env['API_URL'] ?? 'http://api'
const redisHost = process.env['REDIS_HOST'] ?? 'redis'
const pod = process.env['POD_NAME'] ?? 'web'

/** INCR in Redis' protocol, over one short connection. */
function countVisit(): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(6379, redisHost, () => socket.write('INCR visits\r\n'))
    socket.setTimeout(1000, () => socket.destroy(new Error('redis does not answer')))
    socket.once('data', (reply) => {
      socket.end()
      resolve(Number(reply.toString().slice(1)))
    })
    socket.once('error', reject)
  })
}

async function page(
  traceparent: string | undefined,
): Promise<{ status: number; body: unknown }> {
  const headers = traceparent === undefined ? {} : { traceparent }
  const visits = countVisit()
  // eslint-disable-next-line no-restricted-globals -- an application like any other, no part of the mesh
  const answer = await fetch(`${apiUrl}/offer`, { headers })
  const offer: unknown = answer.ok ? await answer.json() : await answer.text()
  return { status: answer.ok ? 200 : 502, body: { pod, visits: await visits, offer } }
}

const server = createServer((req, res) => {
  if (req.url === '/healthz') {
    res.end('ok\n')
    return
  }
  const header = req.headers['traceparent']
  page(typeof header === 'string' ? header : undefined).then(
    ({ status, body }) => {
      res.writeHead(status, { 'content-type': 'application/json' })
      res.end(JSON.stringify(body) + '\n')
    },
    (error: unknown) => {
      res.writeHead(502)
      res.end(`${String(error)}\n`)
    },
  )
})
server.listen(8080, '::')
process.on('SIGTERM', () => server.close(() => process.exit(0)))
