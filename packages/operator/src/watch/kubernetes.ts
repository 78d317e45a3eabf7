// SPDX-License-Identifier: Apache-2.0
// The Kubernetes source: a reflector for each kind that is there, and their changes in batches.
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { ApiObject, ValidationError } from '../api/object.ts'
import type { ApiClient } from './client.ts'
import { Held, type Changes, type Shown } from './held.ts'
import {
  Reflector,
  type ReflectorLimits,
  type ReflectorSink,
  type ReflectorStats,
} from './reflector.ts'
import {
  apiVersionOf,
  compiledResources,
  crdName,
  crdResource,
  statusKinds,
  type CompiledResource,
} from './resources.ts'
import type { Source, SourceChange } from './source.ts'

export interface KubernetesOptions extends ReflectorLimits {
  readonly client: ApiClient
  readonly debounceMs: number
  /** After so long without a first report, and again after each such time, the log says what is missing. */
  readonly syncWarnMs: number
  readonly log: Logger
}

/** A watched kind, for metrics and status. */
export interface WatchStatus extends ReflectorStats {
  readonly kind: string
  readonly connected: boolean
  readonly silentMs: number
  readonly objects: number
}

interface Watched {
  readonly held: Held
  readonly reflector: Reflector
}

export class KubernetesSource implements Source {
  /** Called when the server shows another status of an object (also one that we wrote). */
  onShown: ((key: string) => void) | undefined
  readonly #options: KubernetesOptions
  readonly #watched = new Map<string, Watched>()
  /** Names of the CRDs that exist. */
  readonly #crds = new Set<string>()
  #crdsListed = new Set<string>()
  readonly #crdReflector: Reflector
  readonly #upserts = new Map<string, ApiObject>()
  readonly #removals = new Set<string>()
  #errors: readonly ValidationError[] = []
  #onChange: ((change: SourceChange) => void | Promise<void>) | undefined
  #reported = false
  #debounce: NodeJS.Timeout | undefined
  #warn: NodeJS.Timeout | undefined
  #working: Promise<void> = Promise.resolve()
  #firstReport: (() => void) | undefined
  #closed = false
  #staleSince: number | undefined = performance.now()
  readonly #changes: Changes = {
    upsert: (key, object) => {
      this.#removals.delete(key)
      this.#upserts.set(key, object)
    },
    remove: (key) => {
      this.#upserts.delete(key)
      this.#removals.add(key)
    },
  }

  constructor(options: KubernetesOptions) {
    this.#options = options
    this.#crdReflector = new Reflector(
      options.client,
      crdResource,
      this.#crdSink(),
      options,
    )
  }

  /**
   * Resolves after the first report, which waits until every kind that is there has been listed: half a configuration would
   * withdraw the rest from the nodes. It waits as long as it takes; the log names what is missing, and why.
   */
  async start(onChange: (change: SourceChange) => void | Promise<void>): Promise<void> {
    this.#onChange = onChange
    const first = new Promise<void>((resolve) => (this.#firstReport = resolve))
    for (const resource of compiledResources)
      if (!resource.optional) this.#follow(resource)
    this.#crdReflector.start()
    this.#warn = setInterval(() => this.#logMissing(), this.#options.syncWarnMs)
    await first
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#debounce)
    clearInterval(this.#warn)
    this.#firstReport?.()
    const reflectors = [...this.#watched.values()].map(({ reflector }) => reflector)
    await Promise.all([this.#crdReflector, ...reflectors].map((each) => each.close()))
    await this.#working
  }

  /** What the server shows of an object whose status is ours to write. */
  shown(key: string): Shown | undefined {
    return this.#watched.get(key.slice(0, key.indexOf('/')))?.held.shown(key)
  }

  /** Of an object of any kind; undefined: there is none. */
  uid(key: string): string | undefined {
    return this.#watched.get(key.slice(0, key.indexOf('/')))?.held.uid(key)
  }

  /** Keys of everything that `shown` knows. */
  *shownKeys(): Generator<string> {
    for (const kind of statusKinds) yield* this.#watched.get(kind)?.held.keys() ?? []
  }

  /** Milliseconds since not every kind was followed; 0: all are. What is held may be older than another replica's. */
  get staleMs(): number {
    return this.#staleSince === undefined ? 0 : performance.now() - this.#staleSince
  }

  stats(): WatchStatus[] {
    const of = (kind: string, { stats, connected, silentMs }: Reflector) => {
      const objects = this.#watched.get(kind)?.held.size ?? this.#crds.size
      return { kind, connected, silentMs, objects, ...stats }
    }
    return [
      of(crdResource.kind, this.#crdReflector),
      ...[...this.#watched].map(([kind, { reflector }]) => of(kind, reflector)),
    ]
  }

  #follow(resource: CompiledResource): void {
    const withStatus = statusKinds.has(resource.kind)
    const held = new Held(resource.kind, apiVersionOf(resource), withStatus)
    const put: (object: Parameters<Held['put']>[0]) => void = (object) => {
      const key = held.put(object, this.#changes)
      if (withStatus) this.onShown?.(key)
    }
    const sink: ReflectorSink = {
      listing: () => held.listing(),
      page: (objects) => objects.forEach(put),
      listed: () => {
        held.listed(this.#changes)
        this.#mark()
      },
      event: (type, object) => {
        if (type === 'DELETED') held.delete(object, this.#changes)
        else put(object)
        this.#mark()
      },
      onState: () => this.#onState(),
    }
    const reflector = new Reflector(this.#options.client, resource, sink, this.#options)
    this.#watched.set(resource.kind, { held, reflector })
    reflector.start()
  }

  /** The kind's CRD is gone, and its objects with it. */
  async #unfollow(kind: string): Promise<void> {
    const watched = this.#watched.get(kind)
    if (watched === undefined) return
    this.#watched.delete(kind)
    watched.held.clear(this.#changes)
    this.#mark()
    await watched.reflector.close()
  }

  #crdSink(): ReflectorSink {
    return {
      listing: () => {
        this.#crdsListed = new Set()
      },
      page: (objects) => {
        for (const { metadata } of objects) this.#crdsListed.add(metadata.name)
      },
      listed: () => {
        for (const name of this.#crds)
          if (!this.#crdsListed.has(name)) this.#crds.delete(name)
        for (const name of this.#crdsListed) this.#crds.add(name)
        this.#matchCrds()
        this.#mark()
      },
      event: (type, { metadata: { name } }) => {
        if (type === 'DELETED') this.#crds.delete(name)
        else this.#crds.add(name)
        this.#matchCrds(name)
      },
      onState: () => this.#onState(),
    }
  }

  /** Follows the optional kinds that are there. A CRD that `changed` may only now be served: that kind is tried at once. */
  #matchCrds(changed?: string): void {
    if (this.#closed) return
    for (const resource of compiledResources) {
      if (!resource.optional) continue
      const name = crdName(resource)
      const known = this.#watched.get(resource.kind)
      if (this.#crds.has(name)) {
        if (known === undefined) {
          this.#options.log.info({ crd: name }, 'kind appeared')
          this.#follow(resource)
        } else if (name === changed && !known.reflector.connected) known.reflector.nudge()
      } else if (known !== undefined) {
        this.#options.log.info({ crd: name }, 'kind is gone')
        void this.#unfollow(resource.kind)
      }
    }
  }

  #onState(): void {
    const missing = [this.#crdReflector, ...this.#reflectors()].some(
      (reflector) => !reflector.connected && !isAbsent(reflector),
    )
    if (!missing) this.#staleSince = undefined
    else this.#staleSince ??= performance.now()
    // A kind that is not served yet must not hold up the first report.
    if (!this.#reported) this.#mark()
  }

  *#reflectors(): Generator<Reflector> {
    for (const { reflector } of this.#watched.values()) yield reflector
  }

  #isSynced(): boolean {
    return (
      this.#crdReflector.synced &&
      [...this.#reflectors()].every((each) => each.synced || isAbsent(each))
    )
  }

  #mark(): void {
    if (this.#closed) return
    // From the first change on, not from the last: a steady writer must not starve everybody.
    this.#debounce ??= setTimeout(() => {
      this.#debounce = undefined
      this.#working = this.#working.then(() => this.#flush())
    }, this.#options.debounceMs)
  }

  async #flush(): Promise<void> {
    if (this.#closed || (!this.#reported && !this.#isSynced())) return
    const errors = [...this.#watched.values()].flatMap(({ held }) => held.errors())
    const same = this.#upserts.size + this.#removals.size === 0
    // Most events are heartbeats and status: nothing that compile reads.
    if (this.#reported && same && isDeepStrictEqual(errors, this.#errors)) return
    this.#reported = true
    this.#errors = errors
    const change: SourceChange = {
      upserts: [...this.#upserts.values()],
      removals: [...this.#removals],
      errors,
    }
    this.#upserts.clear()
    this.#removals.clear()
    await this.#onChange?.(change)
    this.#firstReport?.()
  }

  /** Kinds that cannot be followed now, with the server's words: a missing RBAC rule shows as 403 here. */
  missing(): { kind: string; status: number; error: string }[] {
    return [this.#crdReflector, ...this.#reflectors()].flatMap(
      ({ resource: { kind }, error, connected }) =>
        connected || error === undefined
          ? []
          : [{ kind, status: error.status, error: error.message }],
    )
  }

  #logMissing(): void {
    // A list or watch that failed a moment ago is no news.
    if (this.staleMs < this.#options.syncWarnMs) return
    const text = this.#reported
      ? 'kind cannot be followed; what was last seen stays in force'
      : 'kind cannot be read; nothing is served before it is'
    for (const each of this.missing()) this.#options.log.error(each, text)
  }
}

/** Its CRD exists but its version is not served: not yet, or never. */
function isAbsent({ resource, error, synced }: Reflector): boolean {
  return resource.optional && !synced && error?.status === 404
}
