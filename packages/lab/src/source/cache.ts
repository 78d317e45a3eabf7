// SPDX-License-Identifier: Apache-2.0
// Objects of an API server, as of the last event: one reflector a kind.
import { setTimeout as sleep } from 'node:timers/promises'
import { Reflector, type ApiClient, type ServerObject } from '@pillion/operator'
import { LabError } from '../errors.ts'
import { nameOf, type KubeObject } from '../types.ts'
import { kinds, type Kind } from './kinds.ts'

const limits = {
  pageSize: 500,
  backoffMinMs: 50,
  // People who restart their API server want the lab back at once, and there is only one lab.
  backoffMaxMs: 1000,
  idleMs: 180_000,
} as const

const syncPollMs = 20

interface Held {
  readonly reflector: Reflector
  objects: Map<string, KubeObject>
}

export class Cache {
  readonly #held = new Map<Kind, Held>()
  readonly #onChange: () => void

  /** Starts to follow these kinds; `onChange` is called after each event. */
  constructor(client: ApiClient, followed: readonly Kind[], onChange: () => void) {
    this.#onChange = onChange
    for (const kind of followed) this.#follow(client, kind)
  }

  /** Resolves when every kind has been listed. Throws a LabError `timeout` with the server's words. */
  async sync(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs
    for (const [kind, { reflector }] of this.#held) {
      while (!reflector.synced) {
        if (Date.now() > deadline) {
          const why = reflector.error?.message ?? 'no answer'
          throw new LabError('timeout', `the API server does not list ${kind}: ${why}`)
        }
        await sleep(syncPollMs)
      }
    }
  }

  list(kind: Kind): KubeObject[] {
    return [...(this.#held.get(kind)?.objects.values() ?? [])]
  }

  all(): KubeObject[] {
    return [...this.#held.keys()].flatMap((kind) => this.list(kind))
  }

  get(kind: Kind, namespace: string, name: string): KubeObject | undefined {
    return this.#held.get(kind)?.objects.get(`${namespace}/${name}`)
  }

  /** What a write returned: its watch event comes later, and nothing must be written twice until then. */
  put(kind: Kind, object: KubeObject): void {
    this.#held.get(kind)?.objects.set(nameOf(object), object)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#held.values()].map(({ reflector }) => reflector.close()))
  }

  #follow(client: ApiClient, kind: Kind): void {
    const resource = kinds[kind]
    const { group, version } = resource
    const apiVersion = group === '' ? version : `${group}/${version}`
    let listed = new Map<string, KubeObject>()
    // Items of lists come without kind and apiVersion.
    const whole = (object: ServerObject): KubeObject =>
      ({ ...object, apiVersion, kind }) as unknown as KubeObject
    const reflector = new Reflector(
      client,
      resource,
      {
        listing: () => {
          listed = new Map()
        },
        page: (objects) => {
          for (const each of objects.map(whole)) listed.set(nameOf(each), each)
        },
        listed: () => {
          held.objects = listed
          this.#onChange()
        },
        event: (type, object) => {
          const seen = whole(object)
          if (type === 'DELETED') held.objects.delete(nameOf(seen))
          else held.objects.set(nameOf(seen), seen)
          this.#onChange()
        },
        onState: () => undefined,
      },
      limits,
    )
    const held: Held = { reflector, objects: listed }
    this.#held.set(kind, held)
    reflector.start()
  }
}
