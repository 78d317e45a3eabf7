// SPDX-License-Identifier: Apache-2.0
// The operator as a whole: watch → index → compile → publish, and status as what comes back.
import type { Logger } from 'pino'
import { serveAdmin } from './admin.ts'
import { formatError, keyOf, type ApiKind, type ValidationError } from './api/object.ts'
import { compile, type Compiled, type Pools } from './compile/compile.ts'
import { messageOf } from './errors.ts'
import { merge, reportOf, translate, type Published } from './ha/peers.ts'
import { ObjectIndex } from './index/objects.ts'
import { expectedNodes } from './install/nodes.ts'
import { Metrics } from './metrics.ts'
import type { Options } from './options.ts'
import { directoryPlatform, kubernetesPlatform, type Platform } from './platform.ts'
import { Publisher, type SubscriberStatus } from './publish/publisher.ts'
import { secureServing, type Secured } from './publish/secure.ts'
import { serve } from './publish/server.ts'
import { objectStatuses } from './status/conditions.ts'
import type { Summary } from './status/sink.ts'
import type { SourceChange } from './watch/source.ts'

export interface Operator {
  close(): Promise<void>
}

/**
 * Starts everything that `options` name: reads all objects, compiles, and only then opens the socket, so that no node ever
 * gets half of the configuration. Throws an OperatorError when it cannot start.
 */
export async function startOperator(options: Options, log: Logger): Promise<Operator> {
  const platform =
    options.source === 'kubernetes'
      ? await kubernetesPlatform(options, log)
      : directoryPlatform(options)
  const control = new Control(options, log, platform)
  let secured: Secured | undefined
  const closeEarly = async (): Promise<void> => {
    await secured?.close()
    await control.close()
    await platform.close()
  }
  let admin: Awaited<ReturnType<typeof serveAdmin>> | undefined
  try {
    // Before the objects are there: /healthz and /metrics are most wanted while something is missing.
    admin = await serveAdmin(options.adminSocket, control)
    const close = admin.close
    await platform.source.start((change) => control.onChange(change))
    secured = await secureServing({
      ...options,
      client: platform.client,
      isLeader: () => platform.isLeader(),
      registry: control.metrics.registry,
      onError: (error) => log.error({ error }, 'nodes may not be able to connect'),
    })
    const server = await serve(options.listen, control.publisher, secured.options)
    // The first leader makes the CA, and nodes of a new cluster wait for it.
    control.serve(() => void secured?.refresh())
    log.info({ listen: options.listen, version: control.publisher.version }, 'serving')
    return {
      close: async () => {
        control.isServing = false
        server.close()
        await closeEarly()
        await close()
      },
    }
  } catch (error) {
    await closeEarly()
    await admin?.close()
    throw error
  }
}

/** Holds the state between the stages. */
export class Control {
  isServing = false
  readonly publisher: Publisher
  readonly metrics: Metrics
  readonly #index = new ObjectIndex()
  readonly #platform: Platform
  readonly #log: Logger
  readonly #statusDelayMs: number
  readonly #dirty = new Map<ApiKind, Set<string>>()
  readonly #publishedIn = new Map<string, number>()
  readonly #generations = new Map<string, number>()
  readonly #uids = new Map<string, string>()
  #pools: Pools
  #compiled: Compiled | undefined
  #errors: readonly ValidationError[] = []
  #statusTimer: NodeJS.Timeout | undefined

  constructor(options: Options, log: Logger, platform: Platform) {
    this.#log = log
    this.#statusDelayMs = options.statusDelayMs
    this.#platform = platform
    this.#pools = platform.numbers.load()
    this.publisher = new Publisher({
      nackRetryMs: options.nackRetryMs,
      largeDeltas: options.largeDeltas,
      onChange: () => this.scheduleStatus(),
    })
    this.metrics = new Metrics(this)
  }

  /** Whether nodes should subscribe here. */
  get ready(): boolean {
    return this.isServing && this.#platform.isFresh()
  }

  /** Streams are served from now on; `onLead` is called when this replica begins to lead. */
  serve(onLead: () => void = () => undefined): void {
    this.isServing = true
    this.#platform.serve({
      registry: this.metrics.registry,
      report: () => {
        const keys = this.#compiled?.conditions.keys() ?? []
        return reportOf(this.publisher.status(), this.#published(), keys)
      },
      scheduleStatus: () => this.scheduleStatus(),
      view: () => ({
        version: this.publisher.version,
        subscribers: this.#subscribers(),
        nodes: this.nodes(),
      }),
      lead: onLead,
    })
  }

  /** Compiles and publishes a change. A failure of compile is a bug: it is logged, and what is in force stays. */
  onChange(change: SourceChange): void {
    for (const [kind, names] of this.#index.apply(change))
      this.#dirty.set(kind, new Set([...(this.#dirty.get(kind) ?? []), ...names]))
    this.#reportErrors(change.errors)
    this.scheduleStatus()
    if (this.#dirty.size === 0 && this.#compiled !== undefined) return
    try {
      this.#publish(change)
    } catch (error) {
      this.#log.error(
        { err: error },
        'compile failed; the last configuration stays in force',
      )
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#statusTimer)
    this.#statusTimer = undefined
    this.#writeStatus()
    await this.#platform.status.close()
  }

  /** The value behind /debug/status and the STATUS files. */
  status(): Summary {
    const subscribers = this.#subscribers()
    const objects = objectStatuses({
      conditions: this.#compiled?.conditions ?? new Map(),
      parents: this.#compiled?.attachments.parents ?? new Map(),
      errors: this.#errors,
      subscribers,
      nodes: this.#expectedNodes(subscribers),
      publishedIn: this.#publishedIn,
      generations: this.#generations,
    })
    return { version: this.publisher.version, objects, errors: this.#errors, subscribers }
  }

  /** Of all replicas. */
  #subscribers(): SubscriberStatus[] {
    const published = this.#published()
    const keys = [...(this.#compiled?.conditions.keys() ?? [])]
    const others = this.#platform
      .reports()
      .map((report) => translate(report, published, keys))
    return merge(this.publisher.status(), others)
  }

  /** Names of the Node objects, sorted. */
  nodes(): string[] {
    return [...this.#index.snapshot().Node.values()]
      .map(({ metadata }) => metadata.name)
      .sort()
  }

  /** Of these, the ones that should hold the configuration. */
  #expectedNodes(subscribers: readonly SubscriberStatus[]): string[] {
    const facts = this.#platform.nodes()
    if (facts === undefined) return this.nodes()
    const connected = subscribers.flatMap(({ node, connected }) =>
      connected ? [node] : [],
    )
    const [mesh] = this.#index.snapshot().Mesh.values()
    const selector = mesh?.spec.nodeSelector
    return expectedNodes(this.nodes(), facts, selector, new Set(connected))
  }

  /** Number of objects by kind. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { kind } of this.#index.all())
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    return counts
  }

  #published(): Published {
    const { version } = this.publisher
    const contentOf = (key: string): string => {
      const accepted = this.#compiled?.conditions.get(key)?.[0]?.status ?? ''
      const uid = this.#uids.get(key) ?? ''
      return `${uid} ${this.#generations.get(key) ?? 0} ${accepted}`
    }
    return { version, publishedIn: this.#publishedIn, contentOf }
  }

  #publish(change: SourceChange): void {
    const done = this.metrics.compileSeconds.startTimer()
    const before = this.#compiled
    const compiled = compile(this.#index.snapshot(), this.#pools, before, this.#dirty)
    done()
    this.#compiled = compiled
    this.#pools = compiled.pools
    this.#dirty.clear()
    try {
      this.#platform.numbers.save(compiled.pools)
    } catch (error) {
      // Nodes must not wait for a disk; after a restart some numbers may then be new.
      this.#log.error({ err: error }, 'numbers could not be saved')
    }
    const version = this.publisher.publish(compiled, new Set(this.nodes()))
    this.#remember(change, before, compiled, version)
    this.#log.debug(
      { version, changed: change.upserts.length, removed: change.removals.length },
      'published',
    )
  }

  /** From which version on the present content of each object is in force. */
  #remember(
    change: SourceChange,
    before: Compiled | undefined,
    now: Compiled,
    version: number,
  ): void {
    for (const object of change.upserts) {
      const key = keyOf(object)
      this.#publishedIn.set(key, version)
      this.#generations.set(key, object.metadata.generation ?? 0)
      if (now.conditions.has(key)) this.#uids.set(key, object.metadata.uid)
    }
    for (const key of change.removals) {
      this.#publishedIn.delete(key)
      this.#generations.delete(key)
      this.#uids.delete(key)
    }
    for (const [key, [accepted]] of now.conditions) {
      // Something else made it effective: the Service of a route that was there first.
      if (before?.conditions.get(key)?.[0]?.status !== accepted?.status)
        this.#publishedIn.set(key, version)
    }
  }

  #reportErrors(errors: readonly ValidationError[]): void {
    const known = new Set(this.#errors.map(formatError))
    this.#errors = errors
    for (const text of errors.map(formatError)) {
      if (!known.has(text)) this.#log.warn({ error: text }, 'not in force')
    }
  }

  /** Status is looked at again, a moment later: what changes meanwhile goes with it. */
  scheduleStatus(): void {
    this.#statusTimer ??= setTimeout(() => {
      this.#statusTimer = undefined
      this.#writeStatus()
    }, this.#statusDelayMs)
  }

  #writeStatus(): void {
    try {
      this.#platform.status.write(this.status())
      this.#platform.changed()
    } catch (error) {
      this.metrics.statusFailures.inc()
      this.#log.error({ error: messageOf(error) }, 'status could not be written')
    }
  }
}
