// SPDX-License-Identifier: Apache-2.0
// Values for people: JSON with readable addresses, and what differs between the wanted and the actual maps.
import { formatAddress, isMap } from '@pillion/contract'
import {
  configuredMaps,
  keyBytes,
  maps,
  type ConfiguredMap,
  type Table,
  type Tables,
} from '@pillion/ebpf-l4'

/** JSON with addresses as text (any 16 bytes but a process name), other bytes as hex, big numbers as text. */
export function toJson(value: unknown): string {
  return JSON.stringify(readable(value, ''))
}

function readable(value: unknown, key: string): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
    if (key === 'comm') return bytes.toString().replace(/\0.*$/s, '')
    return bytes.length === 16 ? formatAddress(bytes) : bytes.toString('hex')
  }
  if (isMap(value)) {
    return Object.fromEntries([...value].map(([k, v]) => [String(k), readable(v, '')]))
  }
  if (Array.isArray(value)) return value.map((item) => readable(item, key))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, readable(v, k)]))
}

/** One entry that is not as wanted. */
export interface Difference {
  readonly map: ConfiguredMap
  readonly problem: 'missing' | 'extra' | 'different'
  readonly key: unknown
  readonly want?: unknown
  readonly have?: unknown
}

/** Wanted against actual; empty in steady state. */
export function differences(want: Tables, have: Tables): Difference[] {
  return configuredMaps.flatMap((map) => tableDifferences(map, want[map], have[map]))
}

function tableDifferences(map: ConfiguredMap, want: Table, have: Table): Difference[] {
  const { key: keyLayout, value: valueLayout } = maps[map]
  const found: Difference[] = []
  const key = (bytes: string): unknown => keyLayout.read(keyBytes(bytes))
  for (const [bytes, wanted] of want) {
    const actual = have.get(bytes)
    if (actual === undefined) {
      found.push({
        map,
        problem: 'missing',
        key: key(bytes),
        want: valueLayout.read(wanted),
      })
    } else if (!actual.equals(wanted)) {
      const [want, have] = [valueLayout.read(wanted), valueLayout.read(actual)]
      found.push({ map, problem: 'different', key: key(bytes), want, have })
    }
  }
  for (const [bytes, actual] of have) {
    if (want.has(bytes)) continue
    found.push({ map, problem: 'extra', key: key(bytes), have: valueLayout.read(actual) })
  }
  return found
}
