// SPDX-License-Identifier: Apache-2.0
// What the maps should hold, as values: the product of plan, the input of diff, the content of /debug/diff.

/** Maps that configuration fills. The others belong to the kernel (sockets, flows, events) or to the agent's discovery. */
export const configuredMaps = [
  'pl_addresses',
  'pl_backends',
  'pl_slots',
  'pl_members',
  'pl_services',
  'pl_rules',
  'pl_subjects',
  'pl_cgroups',
] as const

export type ConfiguredMap = (typeof configuredMaps)[number]

/** Entries of one map: key bytes as a latin1 string (so that equal keys are equal), value bytes. */
export type Table = ReadonlyMap<string, Buffer>

export type Tables = { readonly [name in ConfiguredMap]: Table }

/** Key bytes to the form that a Table is keyed by, and back. */
export function tableKey(key: Buffer): string {
  return key.toString('latin1')
}

export function keyBytes(key: string): Buffer {
  return Buffer.from(key, 'latin1')
}

export function emptyTables(): Tables {
  return Object.fromEntries(
    configuredMaps.map((name) => [name, new Map()]),
  ) as unknown as Tables
}
