// SPDX-License-Identifier: Apache-2.0
// node load.ts URL CONCURRENCY keep|new: requests one after the other on each of CONCURRENCY clients, until a line comes
// in on stdin; then prints {ok, errors: {code: count}, maxGapMs}: the longest time without any success.
import { Agent, get } from 'node:http'

const [url = '', concurrency = '4', mode = 'new'] = process.argv.slice(2)
const agent = new Agent({ keepAlive: mode === 'keep' })
const errors: Record<string, number> = {}
let ok = 0
let last = performance.now()
let maxGapMs = 0
let more = true

function request(): Promise<string> {
  return new Promise((resolve) => {
    const call = get(url, { agent, timeout: 5000 }, (response) => {
      response.resume()
      response.on('end', () => resolve(String(response.statusCode)))
      response.on('error', (error) =>
        resolve((error as NodeJS.ErrnoException).code ?? 'cut'),
      )
    })
    call.on('timeout', () => call.destroy(new Error('timeout')))
    call.on('error', (error) =>
      resolve((error as NodeJS.ErrnoException).code ?? error.message),
    )
  })
}

async function client(): Promise<void> {
  while (more) {
    const code = await request()
    if (code === '200') {
      ok++
      const now = performance.now()
      maxGapMs = Math.max(maxGapMs, now - last)
      last = now
    } else {
      errors[code] = (errors[code] ?? 0) + 1
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
}

process.stdin.once('data', () => (more = false))
const clients = Array.from({ length: Number(concurrency) }, client)
console.log('ready')
await Promise.all(clients)
console.log(JSON.stringify({ ok, errors, maxGapMs: Math.round(maxGapMs) }))
process.exit()
