// SPDX-License-Identifier: Apache-2.0
// PURE: the filters of users that an L7Service names -> those of the contract.
import type { ServiceFilter } from '@pillion/contract'
import type { ServiceFilterSpec } from '../api/filters.ts'

export function compileServiceFilters(
  filters: readonly ServiceFilterSpec[],
): ServiceFilter[] {
  return filters.map(({ name, config, timeout, failureMode }) => ({
    name,
    configJson: config === undefined ? '' : JSON.stringify(config),
    timeoutMs: timeout,
    bypass: failureMode === 'Bypass',
  }))
}
