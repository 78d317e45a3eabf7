// SPDX-License-Identifier: Apache-2.0
// The node's end of the wire: keeps one stream to the operator, holds the resources, and hands every change to one
// consumer at a time. Shared by agent and proxy.
import type { ClientDuplexStream } from '@grpc/grpc-js'
import {
  NodeConfigClient,
  type Ack,
  type Delta,
  type Hello,
  type Role,
  type WatchRequest,
} from './gen/pillion/v1/node.ts'
import { applyDelta, emptyResources, type Changes, type Resources } from './resources.ts'
import { explain, secure, type Security, type SecurityOptions } from './security.ts'
import { summarize } from './summary.ts'
import { contractVersion, softwareVersion } from './version.ts'

/** Limits and their defaults. */
export const subscribeDefaults = {
  /** First wait after a lost stream; doubles up to `backoffMaxMs`. */
  backoffMinMs: 50,
  backoffMaxMs: 5_000,
  /** A silent peer is found dead after keepaliveMs + keepaliveTimeoutMs. */
  keepaliveMs: 10_000,
  keepaliveTimeoutMs: 5_000,
  /** Largest delta that is accepted; 50 000 endpoints are about 8 MB. */
  maxDeltaBytes: 64 * 1024 * 1024,
} as const

/** How the subscription is doing. */
export type SubscriptionState =
  /** A stream is being opened; nothing has been received on it. */
  | { readonly kind: 'connecting'; readonly attempt: number }
  /** Configuration flows. `version` is the last one in force here, `refused` why a newer one is not. */
  | {
      readonly kind: 'streaming'
      readonly version: number
      readonly epoch: string
      readonly refused: string | undefined
    }
  /** The stream was lost; the next attempt starts in `delayMs`. The last good configuration stays in force. */
  | { readonly kind: 'waiting'; readonly delayMs: number; readonly error: string }

export interface SubscribeOptions extends SecurityOptions {
  readonly node: string
  readonly role: Role
  /** Hash of the layout of the datapath's maps, for status; agents only. */
  readonly mapLayout?: string
  /** In force already, from an earlier run: the operator sends only what differs. */
  readonly initial?: Resources | undefined
  /** What is wanted here and does not work, as "feature: why", for status. */
  readonly degraded?: readonly string[]
  /**
   * Puts a configuration in force. Calls never overlap; the next delta is read only when this one has settled. A throw
   * refuses the delta with that message: the operator is told, and the previous resources stay current. Not called for a
   * delta that changes nothing of what is in force.
   */
  readonly onUpdate: (resources: Resources, changes: Changes) => void | Promise<void>
  readonly onState?: (state: SubscriptionState) => void
  readonly backoffMinMs?: number
  readonly backoffMaxMs?: number
}

export interface Subscription {
  /** Ends the stream and every timer; resolves when a running onUpdate has settled. */
  close(): Promise<void>
  state(): SubscriptionState
  /** What is in force here: the result of the last onUpdate that did not throw; before the first, `initial`. */
  resources(): Resources
}

/** The text of a stream that the operator ended in order: it stops, or the stream was old enough. */
const endedInOrder = 'the operator ended the stream'

/** An `onState` that tells each trouble once, until configuration flows again. */
export function tellTrouble(
  tell: (error: string) => void,
): (state: SubscriptionState) => void {
  let told = endedInOrder
  return (state) => {
    if (state.kind === 'streaming') told = endedInOrder
    if (state.kind !== 'waiting' || state.error === told) return
    told = state.error
    tell(state.error)
  }
}

/** Subscribes at once and for ever, until `close`. Never throws: trouble is a state. */
export function subscribe(options: SubscribeOptions): Subscription {
  const subscriber = new Subscriber(options)
  const done = subscriber.run()
  return {
    close: async () => {
      subscriber.stop()
      await done
    },
    state: () => subscriber.state,
    resources: () => subscriber.resources,
  }
}

type Stream = ClientDuplexStream<WatchRequest, Delta>

class Subscriber {
  state: SubscriptionState = { kind: 'connecting', attempt: 1 }
  resources: Resources
  readonly #options: SubscribeOptions
  #version = 0
  #epoch = ''
  #refused: string | undefined
  #stopped = false
  #stream: Stream | undefined
  #wake: (() => void) | undefined

  constructor(options: SubscribeOptions) {
    this.#options = options
    this.resources = options.initial ?? emptyResources()
  }

  async run(): Promise<void> {
    const min = this.#options.backoffMinMs ?? subscribeDefaults.backoffMinMs
    const max = this.#options.backoffMaxMs ?? subscribeDefaults.backoffMaxMs
    let failures = 0
    // A method, so that the compiler does not think it constant between two looks.
    const stopped = (): boolean => this.#stopped
    while (!stopped()) {
      this.#set({ kind: 'connecting', attempt: failures + 1 })
      const { received, error } = await this.#session()
      if (stopped()) return
      failures = received ? 1 : failures + 1
      const ceiling = Math.min(max, min * 2 ** Math.min(failures - 1, 20))
      // Between half and the whole: agents of a restarted operator do not come back in one beat.
      const delayMs = Math.round(ceiling * (0.5 + Math.random() / 2))
      this.#set({ kind: 'waiting', delayMs, error })
      await this.#sleep(delayMs)
    }
  }

  stop(): void {
    this.#stopped = true
    this.#stream?.cancel()
    this.#wake?.()
  }

  /** One stream from opening to its end. A client of its own: grpc-js' reconnect backoff would come on top of ours. */
  async #session(): Promise<{ received: boolean; error: string }> {
    let received = false
    let client: NodeConfigClient | undefined
    try {
      const security = await secure(this.#options)
      if (this.#stopped) return { received, error: '' }
      client = this.#client(security)
      const stream = client.watch(security.metadata)
      this.#stream = stream
      // A cancelled stream emits an error after the loop below has ended; nobody else listens then.
      stream.on('error', () => undefined)
      // The operator took the hello. Where nothing is missing after a resume, no delta follows.
      stream.on('metadata', () => {
        received = true
        if (this.#version > 0 && !this.#stopped) this.#streaming()
      })
      stream.write({ message: { $case: 'hello', value: this.#hello() } })
      // Iterating is the back-pressure: the next message is taken only when this one is done.
      for await (const delta of stream as AsyncIterable<Delta>) {
        received = true
        const ack = await this.#apply(delta)
        if (this.#stopped) break
        this.#streaming()
        stream.write({ message: { $case: 'ack', value: ack } })
      }
      return { received, error: endedInOrder }
    } catch (error) {
      return { received, error: explain(messageOf(error), this.#options) }
    } finally {
      this.#stream?.cancel()
      this.#stream = undefined
      client?.close()
    }
  }

  #client({ credentials, channelOptions }: Security): NodeConfigClient {
    return new NodeConfigClient(this.#options.address, credentials, {
      ...channelOptions,
      'grpc.keepalive_time_ms': subscribeDefaults.keepaliveMs,
      'grpc.keepalive_timeout_ms': subscribeDefaults.keepaliveTimeoutMs,
      'grpc.max_receive_message_length': subscribeDefaults.maxDeltaBytes,
      'grpc.use_local_subchannel_pool': 1,
      // A proxy variable of the environment is for the world outside, never for the operator.
      'grpc.enable_http_proxy': 0,
    })
  }

  #hello(): Hello {
    const isHeld = this.#version > 0 || this.#options.initial !== undefined
    return {
      node: this.#options.node,
      role: this.#options.role,
      softwareVersion,
      contractVersion,
      resumeVersion: this.#version,
      resumeEpoch: this.#epoch,
      mapLayout: this.#options.mapLayout ?? '',
      summary: isHeld ? summarize(this.resources) : undefined,
      degraded: [...(this.#options.degraded ?? [])],
    }
  }

  async #apply(delta: Delta): Promise<Ack> {
    const { version } = delta
    try {
      const { resources, changes } = applyDelta(this.resources, delta)
      // Everything anew is a configuration also where it is empty; the rest of nothing is not.
      if (delta.full || changes.size > 0) await this.#options.onUpdate(resources, changes)
      this.resources = resources
      this.#version = version
      this.#epoch = delta.epoch
      this.#refused = undefined
      return { version, error: '', resources: [] }
    } catch (error) {
      // An empty error would read as acceptance.
      const refused = messageOf(error) || 'refused without a reason'
      this.#refused = refused
      return { version, error: refused, resources: [] }
    }
  }

  #streaming(): void {
    this.#set({
      kind: 'streaming',
      version: this.#version,
      epoch: this.#epoch,
      refused: this.#refused,
    })
  }

  #set(state: SubscriptionState): void {
    this.state = state
    this.#options.onState?.(state)
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (this.#stopped) this.#wake()
    })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
