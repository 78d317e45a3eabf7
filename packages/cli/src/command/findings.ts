// SPDX-License-Identifier: Apache-2.0
// How the lines of `pillion check` look.
import { colors } from '../colors.ts'
import type { Finding } from '../check.ts'
import { table } from '../output.ts'

export function findingsTable(findings: readonly Finding[]): string {
  return table(
    ['', 'WHAT', 'FOUND', 'COST'],
    findings.map((each) => [symbol(each), each.what, each.found, each.cost]),
  )
}

function symbol({ ok, optional }: Finding): string {
  if (ok) return colors.green('✓')
  return optional === true ? colors.yellow('✗') : colors.red('✗')
}
