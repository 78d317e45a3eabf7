// SPDX-License-Identifier: Apache-2.0
// PURE: label selectors (meta/v1).
import type { LabelSelector } from '../api/scalar.ts'

export type Labels = Readonly<Record<string, string>>

/** True when every requirement holds; an empty selector matches everything. */
export function matches(selector: LabelSelector, labels: Labels): boolean {
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => labels[key] === value) &&
    selector.matchExpressions.every(({ key, operator, values }) => {
      const value = labels[key]
      switch (operator) {
        case 'In':
          return value !== undefined && values.includes(value)
        case 'NotIn':
          // As Kubernetes has it: a label that is absent is not in the list.
          return value === undefined || !values.includes(value)
        case 'Exists':
          return value !== undefined
        case 'DoesNotExist':
          return value === undefined
      }
    })
  )
}

/** Label keys that the selector asks for. */
export function selectorKeys(selector: LabelSelector): string[] {
  return [
    ...Object.keys(selector.matchLabels),
    ...selector.matchExpressions.map(({ key }) => key),
  ]
}
