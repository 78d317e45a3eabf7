// SPDX-License-Identifier: Apache-2.0
// node load.ts URL SECONDS: four clients, a new connection for each request; prints {ok, errors, maxGapMs}, where
// maxGapMs is the longest time without any answer.
import { get } from 'node:http'

const [url = '', seconds = '5'] = process.argv.slice(2)
const until = performance.now() + Number(seconds) * 1000
const errors: Record<string, number> = {}
let [ok, last, maxGapMs] = [0, performance.now(), 0]

function request(): Promise<string> {
  return new Promise((resolve) => {
    const call = get(url, { agent: false, timeout: 5000 }, (response) => {
      response.resume()
      response.on('end', () => resolve(String(response.statusCode)))
      response.on('error', () => resolve('cut'))
    })
    call.on('timeout', () => call.destroy(new Error('timeout')))
    call.on('error', (error) => {
      resolve((error as NodeJS.ErrnoException).code ?? error.message)
    })
  })
}

async function client(): Promise<void> {
  while (performance.now() < until) {
    const answer = await request()
    const now = performance.now()
    if (answer === '200') {
      ok++
      maxGapMs = Math.max(maxGapMs, now - last)
      last = now
    } else {
      errors[answer] = (errors[answer] ?? 0) + 1
    }
  }
}

console.log('ready')
await Promise.all(Array.from({ length: 4 }, client))
console.log(JSON.stringify({ ok, errors, maxGapMs: Math.round(maxGapMs) }))
