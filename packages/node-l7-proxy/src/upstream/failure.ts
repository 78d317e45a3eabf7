// SPDX-License-Identifier: Apache-2.0
import { errnoOf } from '../errors.ts'
import type { UpstreamFailure } from './upstream.ts'

/** An error of connect(2), or of what comes before it, whatever library reports it. */
export class ConnectError extends Error {
  readonly code: string
  readonly syscall = 'connect'

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ConnectError'
    this.code = code
  }
}

/** Code of a ConnectError that a limit of ours is the reason of. */
export const limitCode = 'ELIMIT'

/** An endpoint that sent more than its answers explain. */
export class FloodError extends Error {
  readonly code = 'EFLOOD'

  constructor() {
    super('a flood')
    this.name = 'FloodError'
  }
}

const protocolCodes = new Set([
  'EFLOOD',
  // nghttp2 will not go on with this connection: its peer speaks no HTTP/2.
  'ERR_HTTP2_ERROR',
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
])

/** What an error of an upstream connection means. EPERM of connect is the kernel's verdict on the true source (design 4.2). */
export function classify(error: unknown, endpoint: string): UpstreamFailure {
  const code = errnoOf(error) ?? ''
  const message = error instanceof Error ? error.message : String(error)
  if (code === limitCode)
    return { kind: 'overflow', detail: `${endpoint}: ${message}`, cause: error }
  const detail = `${endpoint}: ${code === '' ? message : code}`
  if ((error as { syscall?: unknown } | undefined)?.syscall === 'connect') {
    return { kind: code === 'EPERM' ? 'denied' : 'connect', detail, cause: error }
  }
  // undici's parser errors often have no code.
  const parser = (error as { name?: unknown } | undefined)?.name === 'HTTPParserError'
  if (parser || code.startsWith('HPE_') || protocolCodes.has(code))
    return { kind: 'protocol', detail, cause: error }
  return { kind: 'reset', detail, cause: error }
}
