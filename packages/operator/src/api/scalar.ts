// SPDX-License-Identifier: Apache-2.0
// The small words that every kind is made of.
import { isIP } from 'node:net'
import { z } from 'zod'
import { ruled } from './rule.ts'

const unitMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const

const durationPattern = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/

/** Milliseconds of a GEP-2257 duration ("1m30s"), or undefined when it is none. */
export function durationMs(text: string): number | undefined {
  if (!durationPattern.test(text)) return undefined
  let sum = 0
  for (const [, digits, unit] of text.matchAll(/([0-9]+)(ms|h|m|s)/g)) {
    sum += Number(digits) * unitMs[unit as keyof typeof unitMs]
  }
  return sum
}

/** A GEP-2257 duration, as milliseconds. A default is written as text: `prefault('10s')`. */
export const duration = z
  .string()
  .max(28)
  .regex(durationPattern, {
    error: ({ input }) =>
      `"${String(input)}" is not a duration (GEP-2257), for example "1m30s" or "250ms"`,
  })
  .transform((text) => durationMs(text) ?? 0)

export const portNumber = z.int().min(1).max(65_535)

/** A port by number, or by the name it has in the pod. */
export const portOrName = z.union(
  // No look-ahead for the letter: patterns of a CRD are RE2.
  [
    portNumber,
    z
      .string()
      .max(15)
      .regex(/^[a-z0-9-]*[a-z][a-z0-9-]*$/),
  ],
  {
    error: 'must be a port number (1 to 65535) or the name of a port',
  },
)

export const dnsName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, { error: 'must be a DNS name' })

/** An IPv4 or IPv6 address, without a zone. */
export const ipAddress = z
  .string()
  .refine((text) => isIP(text) !== 0 && !text.includes('%'), {
    error: 'must be an IP address',
  })

export const protocol = z.enum(['TCP', 'UDP', 'SCTP'])

/** An array that Kubernetes lets be absent or null: empty then. */
function orEmpty<T extends z.ZodType>(array: z.ZodArray<T>) {
  return array.nullish().transform((items) => items ?? [])
}

/** A list that Kubernetes lets be absent or null. */
export function list<T extends z.ZodType>(item: T, maxItems = 100_000) {
  return orEmpty(z.array(item).max(maxItems))
}

/** Items without repetition: "set" to Kubernetes, so that server-side apply merges them one by one. */
export function items<T extends z.ZodType>(item: T, maxItems: number) {
  return z
    .array(item)
    .max(maxItems)
    .refine((all) => new Set(all).size === all.length, {
      error: 'must not repeat an item',
    })
    .meta({ 'x-kubernetes-list-type': 'set' })
}

/** As `items`; may be absent or null. */
export function set<T extends z.ZodType>(item: T, maxItems: number) {
  return orEmpty(items(item, maxItems))
}

/** A map of texts that may be absent or null: labels, annotations. */
export const texts = z
  .record(z.string(), z.string())
  .nullish()
  .transform((map) => map ?? {})

const wantsValues = (operator: string): boolean =>
  operator === 'In' || operator === 'NotIn'

/** A label selector's list of expressions over these keys and values. */
function expressions(key: z.ZodString, value: z.ZodString, maxItems?: number) {
  const expression = z.strictObject({
    key: key.describe('Label that is looked at.'),
    operator: z
      .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
      .describe('How the label is compared with values.'),
    values: list(value, maxItems).describe(
      'Values of operators In and NotIn; the other operators take none.',
    ),
  })
  return list(
    ruled(
      expression,
      {
        cel: "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
        holds: ({ operator, values }) => !wantsValues(operator) || values.length > 0,
        message: 'operators In and NotIn need at least one value',
        path: ['values'],
      },
      {
        cel: "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0",
        holds: ({ operator, values }) => wantsValues(operator) || values.length === 0,
        message: 'operators Exists and DoesNotExist take no values',
        path: ['values'],
      },
    ),
    maxItems,
  )
}

/** LabelSelector of meta/v1. Empty: everything. */
export const labelSelector = z.strictObject({
  matchLabels: texts,
  matchExpressions: expressions(z.string().min(1), z.string()),
})
export type LabelSelector = z.output<typeof labelSelector>

const name = '[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'
const labelKey = z
  .string()
  .max(317)
  .regex(new RegExp(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?${name}$`), {
    error: 'must be the key of a label, as "app" or "example.com/app"',
  })
const labelValue = z
  .string()
  .max(63)
  .regex(new RegExp(`^(${name})?$`), { error: 'must be the value of a label' })

/** Items that a list of our own selectors may have; the API server prices its rules by it. */
const maxSelectorItems = 16

/** Labels with their values, a bounded number of them. */
export const labelMap = z
  .record(labelKey, labelValue)
  .refine((labels) => Object.keys(labels).length <= maxSelectorItems, {
    error: `must have at most ${maxSelectorItems} labels`,
  })
  .meta({ maxProperties: maxSelectorItems })

/** A label selector of our own kinds: what can match no label is refused, and everything is bounded. */
export const strictSelector = z.strictObject({
  matchLabels: labelMap
    .nullish()
    .transform((labels) => labels ?? {})
    .describe('Labels that all must be there with exactly these values.'),
  matchExpressions: expressions(labelKey, labelValue, maxSelectorItems).describe(
    'Conditions that all must hold.',
  ),
})
