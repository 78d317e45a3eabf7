// SPDX-License-Identifier: Apache-2.0
// Going away without losing a request (design 6.4): tell the kernel, go on accepting while it still sends, then let every
// connection end with its current request.
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { Http1Server } from './downstream/http1.ts'
import type { Http2Server } from './downstream/http2.ts'
import type { Metrics } from './metrics/metrics.ts'

/** How long the kernel may still redirect to us after it was told: connects that are under way. */
const settleMs = 200
/** How long an idle connection has to send a request and be told Connection: close, before it is closed under its client. */
const idleGraceMs = 1000
const pollMs = 20

// `turn` before each step: timers run before sockets are read, so on a busy machine a connection that looks idle in a timer may
// have its next request waiting.

/** Resolves when nothing is in flight any more, or at the deadline with the number of requests that were cut off. */
export async function drain(
  stopAccepting: () => void,
  http1: Http1Server,
  http2: Http2Server,
  metrics: Metrics,
  timeoutMs: number,
): Promise<number> {
  const started = performance.now()
  const left = (): number => timeoutMs - (performance.now() - started)
  await sleep(Math.min(settleMs, timeoutMs))
  await turn()
  stopAccepting()
  http2.drain()
  while (
    metrics.gauges.activeConnections > 0 &&
    performance.now() - started < settleMs + idleGraceMs &&
    left() > 0
  ) {
    await sleep(pollMs)
  }
  await turn()
  http1.drain()
  while (metrics.gauges.activeRequests > 0 && left() > 0) await sleep(pollMs)
  // The last bytes of the last answers are still on their way through the sockets.
  await turn()
  http1.drain()
  while (
    metrics.gauges.activeConnections > 0 &&
    left() > 0 &&
    performance.now() - started < settleMs + 2 * idleGraceMs
  ) {
    await sleep(pollMs)
  }
  return metrics.gauges.activeRequests
}
