// SPDX-License-Identifier: Apache-2.0
// One Watch call: who is it, what does it say, and how long may it stay.
import { isIP } from 'node:net'
import { Metadata, status, type ServerDuplexStream } from '@grpc/grpc-js'
import {
  contractVersion,
  Role,
  softwareVersion,
  type Delta,
  type Hello,
  type WatchRequest,
} from '@pillion/contract'
import { messageOf } from '../errors.ts'
import { AuthError, bearerOf, type Authenticate, type Identity } from './authenticate.ts'
import type { Publisher } from './publisher.ts'

export type Call = ServerDuplexStream<WatchRequest, Delta>

/** Limits of a stream. */
export interface StreamLimits {
  /** From opening to the hello; a stream that says nothing holds a place. */
  readonly helloMs: number
  /**
   * Streams end after 90 to 100 % of this, and the client comes back with the token that it then has: a revoked token
   * loses its stream. It resumes at its version, so nothing is sent twice.
   */
  readonly maxAgeMs: number
  /** For a delta to leave this process; a node that does not read it makes others wait for their turn. */
  readonly takeMs: number
}

export interface StreamOptions {
  readonly publisher: Publisher
  /** undefined: whoever reaches the socket is believed. */
  readonly authenticate: Authenticate | undefined
  readonly limits: StreamLimits
  readonly onRefused: (code: status) => void
  readonly onAged: () => void
}

/** Serves a call to its end. */
export function serveStream(call: Call, options: StreamOptions): void {
  new Stream(call, options).start()
}

class Stream {
  readonly #call: Call
  readonly #options: StreamOptions
  #session: ReturnType<Publisher['open']> | undefined
  #identity: Identity | undefined
  #timer: NodeJS.Timeout | undefined
  #takeTimer: NodeJS.Timeout | undefined
  #ended = false

  constructor(call: Call, options: StreamOptions) {
    this.#call = call
    this.#options = options
  }

  start(): void {
    const call = this.#call
    const end = (): void => this.#end()
    // A broken stream is the client's business: it comes back and resumes.
    call.on('error', end)
    call.on('cancelled', end)
    call.on('close', end)
    const { helloMs } = this.#options.limits
    this.#timer = setTimeout(() => {
      this.#refuse(status.DEADLINE_EXCEEDED, `no hello within ${helloMs} ms`)
    }, helloMs)
    void this.#open()
  }

  async #open(): Promise<void> {
    const { authenticate } = this.#options
    try {
      const header = this.#call.metadata.get('authorization')[0]?.toString()
      this.#identity = await authenticate?.(bearerOf(header), addressOf(this.#call))
    } catch (error) {
      const code = error instanceof AuthError ? error.code : status.UNAVAILABLE
      this.#refuse(code, messageOf(error))
      return
    }
    if (this.#ended) return
    // Only now: what a stranger sends stays in its flow-control window.
    this.#call.on('end', () => {
      this.#end()
      this.#call.end()
    })
    this.#call.on('data', (request: WatchRequest) => this.#receive(request))
  }

  #receive({ message }: WatchRequest): void {
    if (this.#ended) return
    if (message?.$case === 'ack') {
      this.#session?.ack(message.value)
      return
    }
    if (message?.$case !== 'hello' || this.#session !== undefined) return
    const problem = problemOf(message.value, this.#identity)
    if (problem !== undefined) {
      this.#refuse(...problem)
      return
    }
    clearTimeout(this.#timer)
    const ageMs = this.#options.limits.maxAgeMs * (0.9 + Math.random() / 10)
    this.#timer = setTimeout(() => this.#age(), ageMs)
    // Says that the hello was taken, also where nothing is missing and no delta follows.
    this.#call.sendMetadata(new Metadata())
    this.#session = this.#options.publisher.open(message.value, (delta, onTaken) =>
      this.#write(delta, onTaken),
    )
  }

  #write(delta: Delta, onTaken: () => void): void {
    const { takeMs } = this.#options.limits
    // An acknowledgement may overtake the callback of the delta before this one.
    clearTimeout(this.#takeTimer)
    const timer = setTimeout(() => {
      this.#refuse(status.DEADLINE_EXCEEDED, `a delta was not read within ${takeMs} ms`)
    }, takeMs)
    this.#takeTimer = timer
    // Called when the last frame of it has gone to the kernel.
    this.#call.write(delta, () => {
      clearTimeout(timer)
      onTaken()
    })
  }

  #age(): void {
    this.#options.onAged()
    this.#end()
    this.#call.end()
  }

  #refuse(code: status, details: string): void {
    if (this.#ended) return
    this.#end()
    this.#options.onRefused(code)
    this.#call.emit('error', { code, details })
  }

  #end(): void {
    this.#ended = true
    clearTimeout(this.#timer)
    clearTimeout(this.#takeTimer)
    this.#session?.close()
    this.#session = undefined
  }
}

/** Without the port: every connection has another one. UNIX sockets have no address and share one name. */
function addressOf(call: Call): string {
  const peer = call.getPeer()
  const host = peer.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return isIP(host) === 0 ? peer : host
}

function problemOf(
  hello: Hello,
  identity: Identity | undefined,
): [status, string] | undefined {
  if (hello.contractVersion !== contractVersion) {
    return [
      status.FAILED_PRECONDITION,
      `contract version ${hello.contractVersion} (software ${hello.softwareVersion}) is not spoken by this operator, ` +
        `which speaks ${contractVersion} (software ${softwareVersion}); upgrade the older of both`,
    ]
  }
  if (hello.node === '' || (hello.role !== Role.AGENT && hello.role !== Role.PROXY)) {
    return [status.INVALID_ARGUMENT, 'hello must name a node and a role']
  }
  if (identity !== undefined && identity.node !== hello.node) {
    return [
      status.PERMISSION_DENIED,
      `the token is of pod ${identity.podName} on node ${identity.node}, and the hello asks for node ${hello.node}; ` +
        'is --node the name of the Node object?',
    ]
  }
  return undefined
}
