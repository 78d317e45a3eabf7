// SPDX-License-Identifier: Apache-2.0
// A client in a process of its own, so that what it measures is not the load generator beside it: asks service 3 of the
// proxy at port argv[2] from identity 256 + 9 again and again; on any message it sends its slowest answer (ms) and ends.
import { ask } from './http.ts'

let over = false
process.once('message', () => (over = true))
let slowest = 0
let failed = ''
while (!over) {
  const started = performance.now()
  try {
    const { body } = await ask(Number(process.argv[2]), 3, '/fine', { from: 9 })
    if (body !== 'fine') failed = body
  } catch (error) {
    failed = String(error)
  }
  slowest = Math.max(slowest, performance.now() - started)
  await new Promise((resolve) => setTimeout(resolve, 10))
}
process.send?.({ slowest: Math.round(slowest), failed })
process.disconnect()
