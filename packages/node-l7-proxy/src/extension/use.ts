// SPDX-License-Identifier: Apache-2.0
// PURE: which filters of users the requests of a service go through.
import type { RouteTable } from '@pillion/contract'

/** A service's use of a filter, as the L7Service declares it. */
export type FilterUse = {
  readonly name: string
  /** JSON. */
  readonly config: string
  readonly timeoutMs: number
  /** Without it when it fails; false: the request fails. */
  readonly bypass: boolean
}

/** In order; undefined: none. */
export function usesOf(table: RouteTable | undefined): readonly FilterUse[] | undefined {
  if (table === undefined || table.filters.length === 0) return undefined
  return table.filters.map(({ name, configJson, timeoutMs, bypass }) => ({
    name,
    config: configJson === '' ? '{}' : configJson,
    timeoutMs,
    bypass,
  }))
}

/** Names of all filters that are used. */
export function namesOf(
  services: Iterable<{ readonly extensions: readonly FilterUse[] | undefined }>,
): Set<string> {
  const names = new Set<string>()
  for (const { extensions = [] } of services)
    for (const { name } of extensions) names.add(name)
  return names
}
