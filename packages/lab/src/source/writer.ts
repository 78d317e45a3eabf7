// SPDX-License-Identifier: Apache-2.0
// Writes to the API server: one at a time for each object, the newest wins, and what fails is tried again.
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, pathOf, type ApiClient } from '@pillion/operator'
import { messageOf } from '../errors.ts'
import type { KubeObject } from '../types.ts'
import { kinds, type Kind } from './kinds.ts'

export const fieldManager = 'pillion-lab'
const retryMinMs = 50
const retryMaxMs = 2000

type Send = () => Promise<unknown>

interface Slot {
  /** What is there, or will be when `next` was sent; the same again is not sent. */
  text: string
  next: Send | undefined
  running: boolean
}

export class Writer {
  readonly #client: ApiClient
  readonly #log: (message: string) => void
  readonly #slots = new Map<string, Slot>()
  readonly #closing = new AbortController()

  constructor(client: ApiClient, log: (message: string) => void) {
    this.#client = client
    this.#log = log
  }

  /** Sends when `text` is not what was last sent under `key`. A refusal is logged and not repeated. */
  put(key: string, text: string, send: Send): void {
    const slot = this.#slots.get(key) ?? { text: '', next: undefined, running: false }
    if (slot.text === text) return
    this.#slots.set(key, slot)
    slot.text = text
    slot.next = send
    if (!slot.running) void this.#run(key, slot)
  }

  /** The next `put` sends whatever it is. */
  forget(key: string): void {
    this.#slots.delete(key)
  }

  /** Keys under which something was put, with this prefix. */
  keys(prefix: string): string[] {
    return [...this.#slots.keys()].filter((key) => key.startsWith(prefix))
  }

  /** Server-side apply of the whole object, or of its status. */
  apply(object: KubeObject): Promise<KubeObject> {
    return this.#client.request<KubeObject>({
      method: 'PATCH',
      path: pathFor(object),
      query: { fieldManager, force: 'true' },
      contentType: 'application/apply-patch+yaml',
      body: object,
      signal: this.#closing.signal,
    })
  }

  /** Replaces what `patch` names: status is its owner's alone, and lists of it are not merged by unreliable keys. */
  mergeStatus(object: KubeObject, status: object): Promise<KubeObject> {
    return this.#client.request<KubeObject>({
      method: 'PATCH',
      path: pathFor(object, 'status'),
      query: { fieldManager },
      contentType: 'application/merge-patch+json',
      body: { status },
      signal: this.#closing.signal,
    })
  }

  create(object: KubeObject): Promise<KubeObject> {
    return this.#client.request<KubeObject>({
      method: 'POST',
      path: pathOf(inNamespace(object)),
      query: { fieldManager },
      body: object,
      signal: this.#closing.signal,
    })
  }

  /** Puts the pod that the Binding names on a node: `spec.nodeName` cannot be changed in any other way. */
  async bind(binding: KubeObject): Promise<void> {
    await this.#client.request({
      method: 'POST',
      path: pathFor({ ...binding, kind: 'Pod' }, 'binding'),
      body: binding,
      signal: this.#closing.signal,
    })
  }

  /** Deletes exactly this object, not another one of its name. `now`: without the grace period of a pod. */
  async delete(object: KubeObject, now = false): Promise<void> {
    try {
      await this.#client.request({
        method: 'DELETE',
        path: pathFor(object),
        body: {
          ...{ apiVersion: 'v1', kind: 'DeleteOptions' },
          preconditions: { uid: object.metadata.uid },
          ...(now && { gracePeriodSeconds: 0 }),
        },
        signal: this.#closing.signal,
      })
    } catch (error) {
      // Gone, or another one has its name: what was asked for is so.
      if (!(error instanceof ApiError) || ![404, 409].includes(error.status)) throw error
    }
  }

  close(): void {
    this.#closing.abort()
  }

  async #run(key: string, slot: Slot): Promise<void> {
    slot.running = true
    let waitMs = retryMinMs
    while (slot.next !== undefined && !this.#closing.signal.aborted) {
      const send = slot.next
      slot.next = undefined
      try {
        await send()
        waitMs = retryMinMs
      } catch (error) {
        if (this.#closing.signal.aborted) break
        if (!isPassing(error)) {
          this.#log(`${key}: ${messageOf(error)}`)
          continue
        }
        slot.next ??= send
        await sleep(waitMs)
        waitMs = Math.min(waitMs * 2, retryMaxMs)
      }
    }
    slot.running = false
  }
}

/** Whether the same request may succeed later. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof ApiError)) return true
  const { status } = error
  return status === 0 || status === 409 || status === 429 || status >= 500
}

function inNamespace({ kind, metadata }: KubeObject) {
  const resource = kinds[kind as Kind]
  const { namespace } = metadata
  return namespace === undefined ? resource : { ...resource, namespace }
}

function pathFor(object: KubeObject, subresource = ''): string {
  const resource = kinds[object.kind as Kind]
  const { namespace = '', name } = object.metadata
  return pathOf(resource, { namespace, name }, subresource)
}
