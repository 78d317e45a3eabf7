// SPDX-License-Identifier: Apache-2.0
// Filters of users: which ones see the requests of a service, and where they come from.
import { z } from 'zod'
import { ruled } from './rule.ts'
import { dnsName, duration, list } from './scalar.ts'

/** JSON of a filter's configuration: it goes to every node that serves. */
const maxConfigLength = 16_384
/** Filters of one service. */
const maxFilters = 8

const config = z
  .record(z.string(), z.unknown())
  .refine((value) => JSON.stringify(value).length <= maxConfigLength, {
    error: `must be at most ${maxConfigLength} characters of JSON`,
  })
  .meta({ 'x-kubernetes-preserve-unknown-fields': true })

const callTimeout = ruled(duration, {
  cel: "duration(self) >= duration('1ms') && duration(self) <= duration('30s')",
  holds: (ms) => ms >= 1 && ms <= 30_000,
  message: 'must be from 1ms to 30s',
})

const serviceFilter = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, {
      error: 'must be the name of a filter, as "sign-headers" for sign-headers.ts',
    })
    .describe("Name of the filter's file, without its extension."),
  config: config
    .optional()
    .describe('What the filter is given; only the filter knows what it means.'),
  timeout: callTimeout
    .prefault('1s')
    .describe('Time for each call of the filter, 1ms to 30s.'),
  failureMode: z
    .enum(['Bypass', 'Reject'])
    .default('Reject')
    .describe(
      'What requests get when the filter fails, is late or is not there: Bypass (as if it were not declared) or Reject (500).',
    ),
})

export const serviceFilters = list(serviceFilter, maxFilters)
export type ServiceFilterSpec = z.output<typeof serviceFilter>

/** Of a Mesh. */
export const filterSource = z.strictObject({
  configMap: dnsName
    .optional()
    .describe(
      "Name of a ConfigMap in the operator's namespace: each key that ends in .ts or .mjs is a file. Absent: there are no filters.",
    ),
  secret: dnsName
    .optional()
    .describe(
      "Name of a Secret in the operator's namespace that filters may read. Absent: none.",
    ),
})
