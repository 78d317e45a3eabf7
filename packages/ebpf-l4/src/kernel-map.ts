// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { BpfError } from './errors.ts'
import { maps } from './gen/layout.ts'
import type { Layout } from './gen/layout.ts'
import { native } from './native.ts'
import { keyBytes, tableKey } from './tables.ts'
import type { Table } from './tables.ts'

/** Maps with keys, and the types of their entries. */
export type KeyedMap = keyof typeof maps
export type KeyOf<M extends KeyedMap> =
  (typeof maps)[M]['key'] extends Layout<infer K> ? K : never
export type ValueOf<M extends KeyedMap> =
  (typeof maps)[M]['value'] extends Layout<infer V> ? V : never

/** enum bpf_map_type, for people. */
const typeNames: Readonly<Record<number, string>> = {
  1: 'hash',
  2: 'array',
  6: 'percpu_array',
  9: 'lru_hash',
  11: 'lpm_trie',
  18: 'sockhash',
  24: 'sk_storage',
  27: 'ringbuf',
}

/** Types that user space cannot walk. */
const opaque = new Set(['sockhash', 'sk_storage', 'ringbuf'])

export interface MapInfo {
  readonly name: string
  readonly type: string
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  /** Undefined for maps that user space cannot walk. */
  readonly entries: number | undefined
  /** As charged by the kernel. */
  readonly memoryBytes: number
}

/** One pinned map of the kernel. Owns its descriptor until `close`. */
export class KernelMap {
  readonly name: string
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly type: string
  readonly fd: number
  #closed = false

  /** Opens a pin. Throws BpfError INCOMPATIBLE when the kernel's sizes are not the generated layout's. */
  constructor(name: string, path: string) {
    this.name = name
    this.fd = native.getPinned(path)
    if (this.fd < 0) throw new BpfError('SYSTEM', `map ${name} is not pinned at ${path}`)
    const info = native.mapInfo(this.fd)
    this.keySize = info.keySize
    this.valueSize = info.valueSize
    this.maxEntries = info.maxEntries
    this.type = typeNames[info.type] ?? String(info.type)
    this.#checkLayout(path)
  }

  #checkLayout(path: string): void {
    if (!(this.name in maps)) return
    const { key, value } = maps[this.name as KeyedMap]
    const perCpu = this.type.startsWith('percpu')
    if (key.size !== this.keySize || (!perCpu && value.size !== this.valueSize)) {
      native.closeFd(this.fd)
      throw new BpfError(
        'INCOMPATIBLE',
        `map ${this.name} at ${path} has entries of ${this.keySize}+${this.valueSize} bytes, this build has ` +
          `${key.size}+${value.size}; run \`pillion uninstall\` for the other build first`,
      )
    }
  }

  /** Value of `key`, or undefined. */
  get(key: Buffer): Buffer | undefined {
    const value = Buffer.alloc(this.valueSize)
    return this.#run('lookup', () => native.mapLookup(this.fd, key, value))
      ? value
      : undefined
  }

  /** Writes all entries, in order. Throws MAP_FULL when one does not fit; those before it are written. */
  setAll(entries: readonly (readonly [Buffer, Buffer])[]): void {
    if (entries.length === 0) return
    const keys = Buffer.concat(entries.map(([key]) => key))
    const values = Buffer.concat(entries.map(([, value]) => value))
    this.#run('update', () => native.mapUpdate(this.fd, keys, values))
  }

  /** Removes the keys that are there. */
  deleteAll(keys: readonly Buffer[]): void {
    if (keys.length === 0) return
    this.#run('delete', () => native.mapDelete(this.fd, Buffer.concat(keys)))
  }

  /** Everything in the map. */
  table(): Table {
    if (opaque.has(this.type))
      throw new BpfError('SYSTEM', `${this.name} cannot be walked`)
    const pairs = this.#run('dump', () => native.mapDump(this.fd))
    const size = this.keySize + this.valueSize
    const table = new Map<string, Buffer>()
    for (let at = 0; at < pairs.length; at += size) {
      const key = pairs.subarray(at, at + this.keySize)
      table.set(tableKey(key), pairs.subarray(at + this.keySize, at + size))
    }
    return table
  }

  info(): MapInfo {
    return {
      name: this.name,
      type: this.type,
      keySize: this.keySize,
      valueSize: this.valueSize,
      maxEntries: this.maxEntries,
      entries: opaque.has(this.type) ? undefined : this.table().size,
      memoryBytes: this.#memoryBytes(),
    }
  }

  /** The kernel's own account of the map (fdinfo `memlock`). */
  #memoryBytes(): number {
    const text = readFileSync(`/proc/self/fdinfo/${this.fd}`, 'utf8')
    return Number(/^memlock:\s*(\d+)/m.exec(text)?.[1] ?? 0)
  }

  /** May be called twice: the number may belong to another file by then. */
  close(): void {
    if (!this.#closed) native.closeFd(this.fd)
    this.#closed = true
  }

  #run<T>(what: string, operation: () => T): T {
    try {
      return operation()
    } catch (cause) {
      throw BpfError.from(`${what} in ${this.name}`, cause)
    }
  }
}

/** Entries of a keyed map by its generated layout. */
export function decode<M extends KeyedMap>(
  name: M,
  table: Table,
): { key: KeyOf<M>; value: ValueOf<M> }[] {
  const { key, value } = maps[name]
  return [...table].map(([k, v]) => ({
    key: key.read(keyBytes(k)) as KeyOf<M>,
    value: value.read(v) as ValueOf<M>,
  }))
}
