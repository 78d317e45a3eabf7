// SPDX-License-Identifier: Apache-2.0
// The small words that every kind is made of.
import { isIP } from 'node:net'
import { z } from 'zod'

const unitMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const

/** Milliseconds of a GEP-2257 duration ("1m30s"), or undefined when it is none. */
export function durationMs(text: string): number | undefined {
  if (!/^([0-9]{1,5}(h|m|s|ms)){1,4}$/.test(text)) return undefined
  let sum = 0
  for (const [, digits, unit] of text.matchAll(/([0-9]+)(ms|h|m|s)/g)) {
    sum += Number(digits) * unitMs[unit as keyof typeof unitMs]
  }
  return sum
}

/** A GEP-2257 duration, as milliseconds. */
export const duration = z.string().transform((text, context) => {
  const ms = durationMs(text)
  if (ms !== undefined) return ms
  context.addIssue({
    code: 'custom',
    message: `"${text}" is not a duration (GEP-2257), for example "1m30s" or "250ms"`,
  })
  return z.NEVER
})

export const portNumber = z.int().min(1).max(65_535)

/** A port by number, or by the name it has in the pod. */
export const portOrName = z.union(
  [portNumber, z.string().regex(/^(?=.*[a-z])[a-z0-9-]{1,15}$/)],
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

/** A list that Kubernetes lets be absent or null. */
export function list<T extends z.ZodType>(item: T, maxItems = 100_000) {
  return z
    .array(item)
    .max(maxItems)
    .nullish()
    .transform((items) => items ?? [])
}

/** A map of texts that may be absent or null: labels, annotations. */
export const texts = z
  .record(z.string(), z.string())
  .nullish()
  .transform((map) => map ?? {})

const expression = z
  .strictObject({
    key: z.string().min(1),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: list(z.string()),
  })
  .superRefine(({ operator, values }, context) => {
    const wantsValues = operator === 'In' || operator === 'NotIn'
    if (wantsValues === values.length > 0) return
    const message = wantsValues
      ? `operator ${operator} needs at least one value`
      : `operator ${operator} takes no values`
    context.addIssue({ code: 'custom', path: ['values'], message })
  })

/** LabelSelector of meta/v1. Empty: everything. */
export const labelSelector = z.strictObject({
  matchLabels: texts,
  matchExpressions: list(expression),
})
export type LabelSelector = z.output<typeof labelSelector>
