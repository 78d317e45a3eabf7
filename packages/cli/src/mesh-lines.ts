// SPDX-License-Identifier: Apache-2.0
// PURE: what the Mesh says of itself, for people.
import { isBad } from './conditions.ts'
import type { Condition } from './install/rollout.ts'

export interface MeshLine {
  readonly text: string
  readonly isGood: boolean
}

/**
 * How the installation stands, first and always, where there is one: why a roll-out waits or halted, what is not removed yet; then
 * what else is not well. Empty: there is no Mesh, or nobody has looked at it.
 */
export function meshLines(conditions: readonly Condition[]): MeshLine[] {
  const lines = conditions.flatMap((condition) => {
    const { type, status, reason, message } = condition
    const isGood = !isBad(condition)
    if (isGood && type !== 'Installed') return []
    const what = isGood ? type : `${type}=${status} (${reason})`
    return [{ type, line: { isGood, text: `Mesh default: ${what}: ${message}` } }]
  })
  const first = lines.filter(({ type }) => type === 'Installed')
  const others = lines.filter(({ type }) => type !== 'Installed')
  return [...first, ...others].map(({ line }) => line)
}
