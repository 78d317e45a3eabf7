// SPDX-License-Identifier: Apache-2.0
// Versions of the configuration, and who holds which.
import { randomUUID } from 'node:crypto'
import { Role, type Ack, type Hello } from '@pillion/contract'
import type { Compiled } from '../compile/compile.ts'
import { ViewBuckets } from './buckets.ts'
import { History, Session, type Start, type Versioned, type Write } from './session.ts'
import { Turns } from './turns.ts'
import { viewOf } from './views.ts'

/** One process of a node, as status shows it. */
export interface SubscriberStatus {
  readonly node: string
  readonly role: 'agent' | 'proxy'
  readonly connected: boolean
  readonly softwareVersion: string
  /** Hash of the layout of its maps; '' where it does not say: proxies have none. */
  readonly mapLayout: string
  /** What is wanted of it and does not work there, as "feature: why"; absent: it is not known. */
  readonly degraded?: readonly string[]
  /** Holds the latest version. */
  readonly current: boolean
  /** The latest version that is known to be in force there; 0: none. */
  readonly ackedVersion: number
  readonly nack: { readonly version: number; readonly reason: string } | undefined
}

interface Place {
  readonly node: string
  readonly role: Role
  readonly history: History
  /** Several while one proxy replaces another. */
  readonly sessions: Set<Session>
  softwareVersion: string
  mapLayout: string
  degraded: readonly string[]
  lastAcked: number
  lastNack: SubscriberStatus['nack']
}

export interface PublisherOptions {
  readonly nackRetryMs: number
  /** Large deltas on their way at once. */
  readonly largeDeltas?: number
  /** Acknowledgements, refusals, streams that open or close. */
  readonly onChange: () => void
}

export class Publisher {
  /** New for every run: versions of another run mean nothing here. */
  readonly epoch: string = randomUUID()
  readonly turns: Turns
  /** Streams that began, by what they went on from. */
  readonly starts: Record<Start, number> = { version: 0, summary: 0, nothing: 0 }
  readonly #options: PublisherOptions
  readonly #places = new Map<string, Place>()
  /** By role: their views share maps, those of different roles do not. */
  readonly #buckets = new Map<Role, ViewBuckets>()
  #compiled: Compiled | undefined
  #version = 0

  constructor(options: PublisherOptions) {
    this.#options = options
    this.turns = new Turns(options.largeDeltas)
  }

  get version(): number {
    return this.#version
  }

  /** Publishes to everybody; `nodes` are the nodes that exist. Returns the new version. */
  publish(compiled: Compiled, nodes: ReadonlySet<string>): number {
    this.#compiled = compiled
    this.#version++
    for (const [key, place] of this.#places) {
      if (place.sessions.size === 0 && !nodes.has(place.node)) this.#places.delete(key)
      for (const session of place.sessions) session.offer()
    }
    return this.#version
  }

  /** The view of a node's process, for /debug/config. */
  view(node: string, role: Role): Versioned['view'] {
    if (this.#compiled === undefined) throw new Error('nothing was published yet')
    return viewOf(this.#compiled, node, role)
  }

  /** Opens a session; `write` sends to its stream. The first delta is written before this returns, unless it has to wait. */
  open(hello: Hello, write: Write): { ack(ack: Ack): void; close(): void } {
    const place = this.#place(hello)
    const session = new Session({
      hello,
      epoch: this.epoch,
      history: place.history,
      nackRetryMs: this.#options.nackRetryMs,
      buckets: this.#bucketsOf(hello.role),
      turns: this.turns,
      latest: () => ({ version: this.#version, view: this.view(hello.node, hello.role) }),
      write,
      onChange: () => {
        this.#remember(place)
        this.#options.onChange()
      },
    })
    place.sessions.add(session)
    this.starts[session.start]++
    place.softwareVersion = hello.softwareVersion
    place.mapLayout = hello.mapLayout
    place.degraded = boundedTexts(hello.degraded)
    session.offer()
    this.#options.onChange()
    return {
      ack: (ack) => session.ack(ack),
      close: () => {
        session.close()
        this.#remember(place)
        place.sessions.delete(session)
        this.#options.onChange()
      },
    }
  }

  status(): SubscriberStatus[] {
    return [...this.#places.values()]
      .map((place): SubscriberStatus => {
        this.#remember(place)
        const sessions = [...place.sessions]
        return {
          node: place.node,
          role: place.role === Role.PROXY ? 'proxy' : 'agent',
          connected: sessions.length > 0,
          softwareVersion: place.softwareVersion,
          mapLayout: place.mapLayout,
          degraded: place.degraded,
          current: place.lastAcked === this.#version,
          ackedVersion: place.lastAcked,
          nack: place.lastNack,
        }
      })
      .sort((a, b) => (a.node + a.role < b.node + b.role ? -1 : 1))
  }

  #place({ node, role, softwareVersion, mapLayout, degraded }: Hello): Place {
    const key = `${node}/${role}`
    const known = this.#places.get(key)
    if (known !== undefined) return known
    const place: Place = {
      node,
      role,
      softwareVersion,
      mapLayout,
      degraded: boundedTexts(degraded),
      history: new History(),
      sessions: new Set(),
      lastAcked: 0,
      lastNack: undefined,
    }
    this.#places.set(key, place)
    return place
  }

  #bucketsOf(role: Role): ViewBuckets {
    let buckets = this.#buckets.get(role)
    if (buckets === undefined) this.#buckets.set(role, (buckets = new ViewBuckets()))
    return buckets
  }

  /** What the slowest of the connected holds; without any, what was known last: it is still in force there. */
  #remember(place: Place): void {
    const sessions = [...place.sessions]
    if (sessions.length === 0) return
    place.lastAcked = Math.min(...sessions.map(({ acked }) => acked?.version ?? 0))
    const refused = sessions.find((session) => session.refused !== undefined)?.refused
    place.lastNack = refused && { version: refused.version, reason: refused.reason }
  }
}

/** A node is trusted with its own configuration, not with the memory of the operator. */
const boundedTexts = (texts: readonly string[]): string[] =>
  texts.slice(0, 16).map((text) => text.slice(0, 512))
