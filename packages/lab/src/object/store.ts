// SPDX-License-Identifier: Apache-2.0
// The objects of the lab, by key, with a mirror on disk: one file an object, replaced by rename, so that the operator
// never reads half an object.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { keyOf, objectKey, type KubeObject } from '../types.ts'

/** Kinds that only the lab understands: not shown to the operator. */
const labOnly = new Set(['Deployment'])

export class ObjectStore {
  readonly #dir: string
  readonly #temporary: string
  readonly #objects = new Map<string, KubeObject>()
  readonly #written = new Map<string, string>()

  /** Files go to `dir`; `temporary` is on the same file system. */
  constructor(dir: string, temporary: string) {
    this.#dir = dir
    this.#temporary = temporary
    mkdirSync(dir, { recursive: true })
    mkdirSync(temporary, { recursive: true })
  }

  get(kind: string, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#objects.get(objectKey(kind, namespace, name))
  }

  list(kind?: string): KubeObject[] {
    const all = [...this.#objects.values()]
    return kind === undefined
      ? all
      : all.filter((object) => object.kind.toLowerCase() === kind.toLowerCase())
  }

  /** Stores and writes; true when the content changed. */
  put(object: KubeObject): boolean {
    const key = keyOf(object)
    const text = JSON.stringify(object, null, 2) + '\n'
    this.#objects.set(key, object)
    if (this.#written.get(key) === text) return false
    this.#written.set(key, text)
    if (!labOnly.has(object.kind)) {
      writeAtomic(join(this.#dir, fileName(object)), text, this.#temporary)
    }
    return true
  }

  /** True when there was such an object. */
  delete(object: KubeObject): boolean {
    const key = keyOf(object)
    this.#written.delete(key)
    rmSync(join(this.#dir, fileName(object)), { force: true })
    return this.#objects.delete(key)
  }
}

/** "pod.shop.web-1.yaml": JSON is YAML, and every loader takes this extension. */
export function fileName(object: KubeObject): string {
  const { namespace, name } = object.metadata
  return [
    object.kind.toLowerCase(),
    ...(namespace === undefined ? [] : [namespace]),
    name,
    'yaml',
  ]
    .join('.')
    .replaceAll(':', '_')
}

let sequence = 0

/** Replaces `file` in one step. */
export function writeAtomic(file: string, text: string, temporary: string): void {
  const draft = join(temporary, `${process.pid}-${sequence++}`)
  writeFileSync(draft, text)
  renameSync(draft, file)
}
