// SPDX-License-Identifier: Apache-2.0
// Keeps the server's certificate right for as long as it runs: the leader renews, all replicas take over what is stored.
import { ServerCredentials } from '@grpc/grpc-js'
import { messageOf } from '../errors.ts'
import { endOf, renew, type Bundle } from './ca.ts'
import type { BundleStore } from './ca-store.ts'
import type { PublishMetrics } from './metrics.ts'

/** How often the store is looked at: always, and before there is a certificate. */
export const certificateLimits = { intervalMs: 60_000, firstMs: 1_000 } as const

export interface CertificatesOptions {
  readonly store: BundleStore
  /** DNS names and addresses of the server. */
  readonly names: readonly string[]
  /** Only then anything is written. */
  readonly isLeader: () => boolean
  readonly onError: (message: string) => void
  readonly metrics?: PublishMetrics
  readonly limits?: Partial<Record<keyof typeof certificateLimits, number>>
  /** ms since 1970. */
  readonly now?: () => number
}

export class Certificates {
  /** For `serve`. Until there is a certificate, connections are closed at once and clients come back. */
  readonly credentials: ServerCredentials
  readonly #reloading = new ReloadingCredentials()
  readonly #options: CertificatesOptions
  #bundle: Bundle | undefined
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false
  #told = ''

  constructor(options: CertificatesOptions) {
    this.#options = options
    this.credentials = this.#reloading
  }

  /** What is served now. */
  get bundle(): Bundle | undefined {
    return this.#bundle
  }

  /** Looks at once, then at intervals, until `close`. Trouble is reported and what was served stays. */
  async start(): Promise<void> {
    await this.refresh()
    if (this.#closed) return
    const { intervalMs, firstMs } = { ...certificateLimits, ...this.#options.limits }
    // A new cluster has no certificate until a leader is elected.
    const ms = this.#bundle === undefined ? firstMs : intervalMs
    this.#timer = setTimeout(() => void this.start(), ms).unref()
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
  }

  /** Looks now. Never throws. */
  async refresh(): Promise<void> {
    this.#running ??= this.#refresh().finally(() => (this.#running = undefined))
    await this.#running
  }

  async #refresh(): Promise<void> {
    const { store, metrics } = this.#options
    try {
      const stored = await store.read()
      let bundle = stored?.bundle
      if (this.#options.isLeader()) {
        const { names, now = Date.now } = this.#options
        bundle = renew(stored?.bundle, names, now())
        if (bundle !== stored?.bundle) await store.write(bundle, stored)
        // Before it is served: nodes have to trust it first.
        await store.publish(bundle)
      }
      if (bundle !== undefined) this.#serve(bundle)
      this.#told = ''
    } catch (error) {
      metrics?.renewal('failed')
      this.#tell(`certificates: ${messageOf(error)}`)
    }
  }

  /** The same trouble once, not at every look. */
  #tell(error: string): void {
    if (error !== this.#told) this.#options.onError(error)
    this.#told = error
  }

  #serve(bundle: Bundle): void {
    const { metrics } = this.#options
    metrics?.expiry({ ca: endOf(bundle.ca.cert), serving: endOf(bundle.serving.cert) })
    const isSame = bundle.serving.cert === this.#bundle?.serving.cert
    this.#bundle = bundle
    if (isSame) return
    this.#reloading.use(bundle)
    metrics?.renewal('renewed')
  }
}

/** grpc-js hands a new context to its TLS server: new handshakes use it, and open streams live on. */
class ReloadingCredentials extends ServerCredentials {
  constructor() {
    super({})
  }

  use({ serving }: Bundle): void {
    this.updateSecureContextOptions({
      cert: serving.cert,
      key: serving.key,
      minVersion: 'TLSv1.3',
    })
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this
  }
}
