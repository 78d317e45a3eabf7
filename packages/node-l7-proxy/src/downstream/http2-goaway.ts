// SPDX-License-Identifier: Apache-2.0
// The end of a session that refuses no stream (RFC 9113 6.8): a GOAWAY that says that the end is near, a round trip in which
// the streams come that the client had opened before it knew, and then the GOAWAY that counts.
import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { socketFd } from '../datapath.ts'
import { loadNative } from '../native.ts'

/** A client that does not answer a PING for this long is not waited for. */
const roundTripMs = 1000
/** After the answer: a client may send it before HEADERS that it had begun to wait with. */
const settleMs = 50
/** How long is waited for what is half written to leave: slow downloads have it. Streams are served meanwhile. */
const queueMs = 30_000
const pollMs = 10

/** Frame of length 8, type 7, on stream 0: last stream 2^31 - 1, NO_ERROR. */
const notice: Buffer = Buffer.from('0000080700000000007fffffff00000000', 'hex')

/**
 * Makes `session.close()` refuse no stream: it ends when its streams have ended, those included that are on their way. Node
 * calls it too, when a client sends GOAWAY, although that says nothing of the streams that come after it (its own client
 * sends HEADERS later than a GOAWAY that it was asked for after them). Deferred, for it may be called inside one of the
 * session's own callbacks (reliability.md 0.1).
 */
export function closeGracefully(session: ServerHttp2Session): void {
  const closeNow = session.close.bind(session)
  const close = (): void => {
    if (!isOver(session)) closeNow()
  }
  let retiring = false
  session.close = () => {
    if (retiring) return
    retiring = true
    const started = performance.now()
    const attempt = (): void => {
      if (isOver(session)) return
      if (sendNotice(session)) {
        if (!session.destroyed) awaitRoundTrip(session, close)
      } else if (performance.now() - started < queueMs) setTimeout(attempt, pollMs)
      else close()
    }
    setImmediate(attempt)
  }
}

const isOver = (session: ServerHttp2Session): boolean =>
  session.closed || session.destroyed

/**
 * Past node: its `goaway()` makes nghttp2 drop whatever new stream comes after it, unless it is the "shutdown notice" that
 * node has no call for. So the frame is written to the socket itself, at a moment when nothing of node's is half written.
 */
function sendNotice(session: ServerHttp2Session): boolean {
  const socket = session.socket as Socket & { _handle?: { writeQueueSize?: number } }
  if (socket._handle?.writeQueueSize !== 0) return false
  try {
    return loadNative().sendNow(socketFd(socket), notice)
  } catch {
    session.destroy() // broken, or cut in the middle of the frame
    return true
  }
}

function awaitRoundTrip(session: ServerHttp2Session, close: () => void): void {
  const timer = setTimeout(close, roundTripMs)
  session.once('close', () => {
    clearTimeout(timer)
  })
  session.ping((error) => {
    if (error !== null) return // the session is over, or the timer decides
    clearTimeout(timer)
    setTimeout(close, settleMs)
  })
}
