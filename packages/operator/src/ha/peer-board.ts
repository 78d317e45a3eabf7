// SPDX-License-Identifier: Apache-2.0
// Where replicas leave their reports: a ConfigMap each, which the leader watches. Not a connection between the replicas: the
// API server is what both can reach, knows them, and keeps what the next leader has to know.
import type { Logger } from 'pino'
import { messageOf } from '../errors.ts'
import type { ApiClient } from '../watch/client.ts'
import { Reflector, type ReflectorLimits, type ServerObject } from '../watch/reflector.ts'
import { pathOf, type Resource } from '../watch/resources.ts'
import { decode, encode, type PeerReport } from './peers.ts'

/** Limits of reports. */
export const boardLimits = {
  /** A replica writes its report at most once in this time. */
  writeMs: 1_000,
  /** And at least once in this: who is silent for `staleMs` is gone. */
  heartbeatMs: 10_000,
  staleMs: 35_000,
} as const

const label = 'mesh.pillion.dev/peer-report'
const fieldManager = 'pillion-operator'

export interface BoardOptions extends ReflectorLimits {
  readonly client: ApiClient
  readonly namespace: string
  /** This replica's pod. */
  readonly podName: string
  /** What this replica has to tell now. */
  readonly report: () => PeerReport
  /** Reports of others have changed. */
  readonly onChange: () => void
  readonly log: Logger
}

interface Seen {
  readonly report: PeerReport
  /** By the monotonic clock. */
  readonly at: number
}

export class PeerBoard {
  readonly #options: BoardOptions
  readonly #resource: Resource
  readonly #seen = new Map<string, Seen>()
  #listed = new Set<string>()
  #reflector: Reflector | undefined
  #timer: NodeJS.Timeout | undefined
  #sweep: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  #wroteAt = 0
  #dueAt = 0
  #beats = 0
  #written = ''
  #hasReport = false
  #isLeader: boolean | undefined
  #closed = false

  constructor(options: BoardOptions) {
    this.#options = options
    this.#resource = {
      kind: 'ConfigMap',
      group: '',
      version: 'v1',
      plural: 'configmaps',
      optional: false,
      namespace: options.namespace,
      labelSelector: label,
    }
  }

  /** The leader reads the others' reports; everybody else leaves one. */
  lead(isLeader: boolean): void {
    if (this.#closed || this.#isLeader === isLeader) return
    this.#isLeader = isLeader
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (isLeader) {
      const sink = this.#sink()
      const { client } = this.#options
      this.#reflector = new Reflector(client, this.#resource, sink, this.#options)
      this.#reflector.start()
      this.#sweep = setInterval(() => this.#forget(), boardLimits.heartbeatMs)
      void this.#withdraw()
    } else {
      clearInterval(this.#sweep)
      void this.#reflector?.close()
      this.#reflector = undefined
      this.#seen.clear()
      this.changed()
    }
  }

  /** This replica has something new to tell. */
  changed(): void {
    if (this.#isLeader !== false) return
    const wait = this.#wroteAt + boardLimits.writeMs - performance.now()
    this.#schedule(Math.max(0, wait))
  }

  /** Reports of the other replicas that are alive. */
  reports(): PeerReport[] {
    return [...this.#seen.values()].map(({ report }) => report)
  }

  async close(): Promise<void> {
    // The lease is given up after this, and that says "no leader" once more.
    this.#closed = true
    this.#isLeader = undefined
    clearTimeout(this.#timer)
    clearInterval(this.#sweep)
    await this.#reflector?.close()
    await this.#withdraw()
  }

  /** In `ms`, unless it is to be sooner already. */
  #schedule(ms: number): void {
    const at = performance.now() + ms
    if (this.#timer !== undefined && this.#dueAt <= at) return
    clearTimeout(this.#timer)
    this.#dueAt = at
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#writing = this.#writing.then(() => this.#write())
    }, ms)
  }

  get #object() {
    const { namespace, podName } = this.#options
    return { namespace, name: `pillion-peer-${podName}` }
  }

  async #write(): Promise<void> {
    if (this.#isLeader !== false) return
    const { client, log, report } = this.#options
    const { namespace, name } = this.#object
    const text = encode(report())
    const silentMs = performance.now() - this.#wroteAt
    if (text === this.#written && silentMs < boardLimits.heartbeatMs) {
      this.#schedule(boardLimits.heartbeatMs - silentMs)
      return
    }
    this.#wroteAt = performance.now()
    try {
      this.#hasReport = true
      await client.request({
        method: 'PATCH',
        path: pathOf(this.#resource, this.#object),
        query: { fieldManager, force: 'true' },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { namespace, name, labels: { [label]: 'true' } },
          // The count makes a heartbeat of a report that says the same.
          data: { report: text, count: String(this.#beats++) },
        },
      })
      this.#written = text
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'report to the leader could not be written')
      if (this.#isLeader === false) this.#schedule(2 * boardLimits.writeMs)
      return
    }
    // What changed meanwhile has scheduled it sooner.
    if (this.#isLeader === false) this.#schedule(boardLimits.heartbeatMs)
  }

  /** Takes our report away; a leader's subscribers are known to itself. */
  async #withdraw(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      if (!this.#hasReport) return
      this.#hasReport = false
      this.#written = ''
      await this.#delete(this.#object.name)
    })
    await this.#writing
  }

  async #delete(name: string): Promise<void> {
    const { client, namespace } = this.#options
    const path = pathOf(this.#resource, { namespace, name })
    // Gone already, or forgotten by the leader in time.
    await client.request({ method: 'DELETE', path }).catch(() => undefined)
  }

  #sink() {
    const put = ({ metadata: { name }, ...object }: ServerObject): void => {
      this.#listed.add(name)
      if (name === this.#object.name) return
      const { report: text = '' } = (object['data'] ?? {}) as { report?: string }
      const report = decode(text)
      if (report !== undefined) this.#seen.set(name, { report, at: performance.now() })
    }
    return {
      listing: () => {
        this.#listed = new Set()
      },
      page: (objects: readonly ServerObject[]) => objects.forEach(put),
      listed: () => {
        for (const name of this.#seen.keys())
          if (!this.#listed.has(name)) this.#seen.delete(name)
        this.#options.onChange()
      },
      event: (type: string, object: ServerObject) => {
        if (type === 'DELETED') this.#seen.delete(object.metadata.name)
        else put(object)
        this.#options.onChange()
      },
      onState: () => undefined,
    }
  }

  /** A replica that was killed cannot take its report away. Without the watch nobody's silence means anything. */
  #forget(): void {
    if (this.#reflector?.connected !== true) return
    for (const [name, { at }] of this.#seen) {
      if (performance.now() - at < boardLimits.staleMs) continue
      this.#seen.delete(name)
      void this.#delete(name)
      this.#options.onChange()
    }
  }
}
