// SPDX-License-Identifier: Apache-2.0
// The API: an offer with a price from the pricing service. FAIL_PERCENT of the requests fail with 503 before anything
// is done, as a service does that sheds load; POST /fail?percent=N changes the share at run time.
import { createServer } from 'node:http'
import { pricingClient } from './pricing-client.ts'

const version = process.env['VERSION'] ?? 'v1'
const pod = process.env['POD_NAME'] ?? 'api'
let failPercent = Number(process.env['FAIL_PERCENT'] ?? '0')
const quote = pricingClient(process.env['PRICING'] ?? 'pricing:50051')

const server = createServer((req, res) => {
  const url = new URL(req.url ?? '/', 'http://api')
  const json = (status: number, body: unknown): void => {
    res.writeHead(status, { 'content-type': 'application/json', 'x-version': version })
    res.end(JSON.stringify(body) + '\n')
  }
  if (url.pathname === '/healthz') return json(200, { ok: true })
  if (url.pathname === '/fail' && req.method === 'POST') {
    failPercent = Number(url.searchParams.get('percent') ?? '0')
    return json(200, { failPercent })
  }
  if (Math.random() * 100 < failPercent)
    return json(503, { error: 'overloaded', version, pod })
  const { traceparent } = req.headers
  quote('pillion', typeof traceparent === 'string' ? traceparent : undefined).then(
    ({ cents, pod: pricedBy }) =>
      json(200, { item: 'pillion', cents, version, pod, pricedBy, traceparent }),
    (error: unknown) => json(502, { error: String(error), version, pod }),
  )
})
server.listen(8080, '::')
process.on('SIGTERM', () => server.close(() => process.exit(0)))
