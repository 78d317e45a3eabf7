// SPDX-License-Identifier: Apache-2.0
// Our own kinds, mesh.pillion.dev/v1alpha1. What is not known is an error: a typo must not switch protection off.
import { z } from 'zod'
import { metadata } from './core.ts'
import {
  dnsName,
  duration,
  labelSelector,
  list,
  portNumber,
  portOrName,
  protocol,
} from './scalar.ts'

const failureMode = z.enum(['Bypass', 'Reject'])
export const acceleration = z.enum(['Off', 'On', 'Auto'])

export const mesh = z
  .object({
    metadata,
    spec: z.strictObject({
      failureMode: failureMode.default('Bypass'),
      acceleration: acceleration.default('Auto'),
      tracing: z
        .strictObject({ sampleRatio: z.number().min(0).max(1).default(0) })
        .optional(),
      accessLog: z.boolean().default(false),
    }),
  })
  .superRefine(({ metadata: { name } }, context) => {
    if (name === 'default') return
    const message = `must be "default", not "${name}": there is one Mesh`
    context.addIssue({ code: 'custom', path: ['metadata', 'name'], message })
  })

const grpcCodes = [
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

const retries = z.strictObject({
  attempts: z.int().min(0).max(100),
  codes: list(z.int().min(400).max(599)),
  grpcCodes: list(z.enum(grpcCodes)),
  backoff: duration.optional(),
  perTryTimeout: duration.optional(),
})
export type Retries = z.output<typeof retries>

export const l7Service = z.object({
  metadata,
  spec: z.strictObject({
    targetRef: z.strictObject({
      group: z.literal('').optional(),
      kind: z.literal('Service').optional(),
      name: dnsName,
      port: portNumber.optional(),
    }),
    protocol: z.enum(['http', 'http2', 'grpc']),
    failureMode: failureMode.optional(),
    timeouts: z
      .strictObject({ request: duration.optional(), backendRequest: duration.optional() })
      .optional(),
    retries: retries.optional(),
    retryBudget: z
      .strictObject({
        percent: z.int().min(0).max(100).default(20),
        interval: duration.default(10_000),
        minRetryRate: z
          .strictObject({
            count: z.int().min(0).max(1_000_000).default(10),
            interval: duration.default(1000),
          })
          .optional(),
      })
      .optional(),
  }),
})

const accessPeer = z
  .strictObject({
    namespaceSelector: labelSelector.optional(),
    podSelector: labelSelector.optional(),
    serviceAccounts: z
      .array(
        z
          .string()
          .regex(/^[a-z0-9.-]+\/[a-z0-9.-]+$/, { error: 'must be "namespace/name"' }),
      )
      .min(1)
      .optional(),
  })
  .refine((peer) => Object.values(peer).some((field) => field !== undefined), {
    error: 'must have namespaceSelector, podSelector or serviceAccounts',
  })

const accessPort = z
  .strictObject({
    protocol: protocol.default('TCP'),
    port: portOrName,
    endPort: portNumber.optional(),
  })
  .refine(
    ({ port, endPort }) =>
      endPort === undefined || (typeof port === 'number' && endPort >= port),
    { path: ['endPort'], error: 'needs a numbered port beside it that is not greater' },
  )

export const accessPolicy = z.object({
  metadata,
  spec: z.strictObject({
    selector: labelSelector.default({ matchLabels: {}, matchExpressions: [] }),
    action: z.enum(['Allow', 'Deny']).default('Allow'),
    rules: list(
      z.strictObject({
        // Never allow-all by omission: everybody is said by an empty namespaceSelector.
        from: z.array(accessPeer).min(1, {
          error: 'must name at least one peer; for every pod: namespaceSelector: {}',
        }),
        ports: list(accessPort),
      }),
    ),
  }),
})
