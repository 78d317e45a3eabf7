// SPDX-License-Identifier: Apache-2.0
// Writes status subresources: what is true against what the server shows, an object at a time, only where they differ.
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { isBad, type Condition } from '../compile/condition.ts'
import { messageOf } from '../errors.ts'
import { ApiError, type ApiClient, type ApiRequest } from '../watch/client.ts'
import { shownOf, type Shown } from '../watch/held.ts'
import type { ServerObject } from '../watch/reflector.ts'
import {
  apiVersionOf,
  compiledResources,
  pathOf,
  statusKinds,
  type CompiledResource,
} from '../watch/resources.ts'
import type { ObjectStatus } from './conditions.ts'
import {
  desiredStatus,
  isShared,
  isShown,
  turnedBad,
  type StatusBody,
} from './desired.ts'
import type { EventRecorder } from './events.ts'
import type { StatusSink, Summary } from './sink.ts'

export const fieldManager = 'pillion-operator'

/** Limits of writes. */
export const statusLimits = {
  /** An object is written at most once in this time; what changes meanwhile goes with the next write. */
  perObjectMs: 1_000,
  concurrent: 4,
  backoffMinMs: 250,
  backoffMaxMs: 60_000,
} as const

/** What the server shows: the source's side. */
export interface ShownObjects {
  shown(key: string): Shown | undefined
  shownKeys(): Iterable<string>
  /** Of any object that is watched. */
  uid(key: string): string | undefined
  onShown: ((key: string) => void) | undefined
}

export interface KubernetesStatusOptions {
  readonly client: ApiClient
  readonly objects: ShownObjects
  readonly events: EventRecorder
  readonly log: Logger
  readonly perObjectMs?: number
}

/** What is known of the writes of one object. */
interface Slot {
  /** By the monotonic clock. */
  notBefore: number
  failures: number
  /** What the server answered to the last write; newer than the watch for a moment. */
  answer: Shown | undefined
  /** The body of that write: a server that shows less of it (an older schema) is not written to again and again. */
  sent: string
}

/**
 * The sink of the leader. Every replica keeps what is true; only while it leads it writes, beginning with all that differs, so
 * that a fail-over loses nothing. An object that the server shows with a status that is not ours is written again.
 */
export class KubernetesStatus implements StatusSink {
  /** By kind. */
  readonly writes = new Map<string, number>()
  failures = 0
  readonly #options: KubernetesStatusOptions
  readonly #perObjectMs: number
  readonly #slots = new Map<string, Slot>()
  readonly #ready = new Set<string>()
  readonly #delayed = new Map<string, NodeJS.Timeout>()
  readonly #running = new Map<string, Promise<void>>()
  #wanted: ReadonlyMap<string, ObjectStatus> | undefined
  /** What is wrong with objects that have no status: they are told of by events alone. */
  #wrong: ReadonlyMap<string, readonly Condition[]> = new Map()
  #isLeader = false
  #closed = false

  constructor(options: KubernetesStatusOptions) {
    this.#options = options
    this.#perObjectMs = options.perObjectMs ?? statusLimits.perObjectMs
    options.objects.onShown = (key) => this.#enqueue(key)
  }

  write({ objects }: Summary): void {
    const before = this.#wanted
    this.#wanted = new Map(
      objects
        .filter(({ kind }) => statusKinds.has(kind))
        .map((object) => [`${object.kind}/${object.namespace}/${object.name}`, object]),
    )
    for (const [key, object] of this.#wanted)
      if (!isDeepStrictEqual(object, before?.get(key))) this.#enqueue(key)
    for (const key of before?.keys() ?? this.#options.objects.shownKeys())
      if (!this.#wanted.has(key)) this.#enqueue(key)
    const told = this.#wrong
    this.#wrong = wrongWithoutStatus(objects)
    for (const [key, conditions] of this.#wrong)
      if (!isDeepStrictEqual(conditions, told.get(key))) this.#warn(key, conditions)
  }

  /** From now on this replica writes, or does not any more. */
  lead(isLeader: boolean): void {
    this.#isLeader = isLeader
    if (isLeader) {
      for (const key of this.#options.objects.shownKeys()) this.#enqueue(key)
      for (const [key, conditions] of this.#wrong) this.#warn(key, conditions)
    } else {
      this.#ready.clear()
      for (const timer of this.#delayed.values()) clearTimeout(timer)
      this.#delayed.clear()
      // What others write from here on is newer than our answers.
      this.#slots.clear()
    }
  }

  /** Waits for the writes that are under way; begins no other. */
  async close(): Promise<void> {
    this.#closed = true
    this.lead(false)
    this.#options.objects.onShown = undefined
    await Promise.all(this.#running.values())
  }

  #enqueue(key: string): void {
    if (!this.#isLeader || this.#closed || this.#wanted === undefined) return
    if (this.#delayed.has(key) || this.#ready.has(key)) return
    const wait = (this.#slots.get(key)?.notBefore ?? 0) - performance.now()
    if (wait <= 0) {
      this.#ready.add(key)
      this.#pump()
      return
    }
    const timer = setTimeout(() => {
      this.#delayed.delete(key)
      this.#ready.add(key)
      this.#pump()
    }, wait)
    this.#delayed.set(key, timer)
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#running.size >= statusLimits.concurrent) return
      // Its write is under way: looked at again when that has ended.
      if (this.#running.has(key)) continue
      this.#ready.delete(key)
      if ((this.#slots.get(key)?.notBefore ?? 0) > performance.now()) {
        this.#enqueue(key)
        continue
      }
      const work = this.#reconcile(key)
      if (work === undefined) continue
      const ended = work.finally(() => {
        this.#running.delete(key)
        this.#pump()
      })
      this.#running.set(key, ended)
    }
  }

  /** Undefined: nothing is to be written. The promise never rejects. */
  #reconcile(key: string): Promise<void> | undefined {
    const kind = key.slice(0, key.indexOf('/'))
    const resource = compiledResources.find((each) => each.kind === kind)
    const slot = this.#slots.get(key)
    const watched = this.#options.objects.shown(key)
    if (watched === undefined || resource === undefined) {
      this.#slots.delete(key)
      return undefined
    }
    const shown = newest(watched, slot?.answer)
    const object = this.#wanted?.get(key)
    const body = desiredStatus(kind, object, shown, timeNow())
    if (body === undefined || isShown(body, shown)) return undefined
    const text = textOf(body)
    if (slot?.answer === shown && slot.sent === text) return undefined
    return this.#write(resource, key, body, text, shown)
  }

  async #write(
    resource: CompiledResource,
    key: string,
    body: StatusBody,
    text: string,
    shown: Shown,
  ): Promise<void> {
    const slot = this.#slots.get(key) ?? {
      notBefore: 0,
      failures: 0,
      answer: undefined,
      sent: '',
    }
    this.#slots.set(key, slot)
    try {
      const request = requestOf(resource, key, body, shown)
      slot.answer = shownOf(await this.#options.client.request<ServerObject>(request))
      slot.sent = text
      slot.failures = 0
      slot.notBefore = performance.now() + this.#perObjectMs
      this.writes.set(resource.kind, (this.writes.get(resource.kind) ?? 0) + 1)
      this.#tell(resource, key, body, shown)
    } catch (error) {
      await this.#failed(resource, key, slot, error)
    }
  }

  async #failed(
    resource: CompiledResource,
    key: string,
    slot: Slot,
    error: unknown,
  ): Promise<void> {
    const { status, retryAfterMs } =
      error instanceof ApiError ? error : new ApiError(0, '', messageOf(error))
    // Gone, or its kind is: the watch will say so.
    if (status === 404) return
    this.failures++
    slot.failures++
    const bound = Math.min(
      statusLimits.backoffMaxMs,
      statusLimits.backoffMinMs * 2 ** Math.min(slot.failures, 20),
    )
    // A refusal will be repeated until somebody changes something: seldom is enough.
    const isRefused = status >= 400 && status < 500 && status !== 409 && status !== 429
    const wait = isRefused ? statusLimits.backoffMaxMs : Math.random() * bound
    slot.notBefore = performance.now() + Math.max(wait, retryAfterMs)
    if (isRefused || slot.failures === 5) {
      this.#options.log.error(
        { object: key, status, error: messageOf(error) },
        'status could not be written',
      )
    }
    if (status === 409) {
      // Somebody wrote between: the watch may be slow to say what.
      slot.answer = await this.#options.client
        .request<ServerObject>({ path: pathOf(resource, partsOf(key)) })
        .then(shownOf, () => slot.answer)
    }
    this.#enqueue(key)
  }

  #tell(resource: CompiledResource, key: string, body: StatusBody, shown: Shown): void {
    this.#send(resource, key, shown.uid, turnedBad(body, shown))
  }

  #warn(key: string, conditions: readonly Condition[]): void {
    const resource = compiledResources.find(({ kind }) => key.startsWith(`${kind}/`))
    const uid = this.#options.objects.uid(key)
    if (!this.#isLeader || this.#closed || !resource || uid === undefined) return
    this.#send(resource, key, uid, conditions)
  }

  #send(
    resource: CompiledResource,
    key: string,
    uid: string,
    conditions: readonly { type: string; reason: string; message: string }[],
  ): void {
    const regarding = {
      ...{ apiVersion: apiVersionOf(resource), kind: resource.kind, uid },
      ...partsOf(key),
    }
    for (const { type, reason, message } of conditions)
      void this.#options.events.warn(regarding, reason, `${type}: ${message}`)
  }
}

function wrongWithoutStatus(
  objects: readonly ObjectStatus[],
): Map<string, readonly Condition[]> {
  return new Map(
    objects.flatMap(({ kind, namespace, name, conditions }) => {
      if (statusKinds.has(kind)) return []
      // Whether nodes hold it already is no news for anybody.
      const wrong = conditions.filter((one) => isBad(one) && one.type !== 'Programmed')
      return wrong.length === 0 ? [] : [[`${kind}/${namespace}/${name}`, wrong] as const]
    }),
  )
}

/**
 * Our kinds: server-side apply, their status has no other owner. Routes and policies: `parents` or `ancestors` is one atomic list of many
 * controllers, and applying it would take the others' entries from them; so the list that was read is written back, if nobody wrote meanwhile.
 */
function requestOf(
  resource: CompiledResource,
  key: string,
  status: StatusBody,
  { resourceVersion }: Shown,
): ApiRequest {
  const { namespace, name } = partsOf(key)
  const path = pathOf(resource, { namespace, name }, 'status')
  const method = 'PATCH'
  if (isShared(resource.kind)) {
    return {
      method,
      path,
      query: { fieldManager },
      contentType: 'application/merge-patch+json',
      body: { metadata: { resourceVersion }, status },
    }
  }
  return {
    method,
    path,
    query: { fieldManager, force: 'true' },
    contentType: 'application/apply-patch+yaml',
    body: {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      metadata: { name, ...(namespace !== '' && { namespace }) },
      status,
    },
  }
}

function partsOf(key: string): { namespace: string; name: string } {
  const [, namespace = '', name = ''] = key.split('/')
  return { namespace, name }
}

/** The answer of a write until the watch has caught up; numbers within one resource are comparable (Kubernetes 1.35). */
function newest(watched: Shown, answer: Shown | undefined): Shown {
  if (answer === undefined || answer.uid !== watched.uid) return watched
  const [a, b] = [answer.resourceVersion, watched.resourceVersion]
  if (a === b) return answer
  const isNumeric = /^\d+$/.test(a) && /^\d+$/.test(b)
  return isNumeric && BigInt(a) > BigInt(b) ? answer : watched
}

/** The body without its times: they differ in every attempt. */
function textOf(body: StatusBody): string {
  return JSON.stringify(body, (name, value: unknown) =>
    name === 'lastTransitionTime' ? undefined : value,
  )
}

/** Now as a Time of meta/v1: whole seconds. */
function timeNow(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z')
}
