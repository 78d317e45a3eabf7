// SPDX-License-Identifier: Apache-2.0
// Kinds of the Gateway API's experimental group, gateway.networking.x-k8s.io/v1alpha1.
import { z } from 'zod'
import { metadata } from './core.ts'
import { dnsName, duration } from './scalar.ts'

/** GEP-3388: how many retries a Service bears. Defaults are the standard's. */
export const backendTrafficPolicy = z.object({
  metadata,
  spec: z.object({
    targetRefs: z
      .array(z.object({ group: z.string(), kind: z.string(), name: dnsName }))
      .min(1)
      .max(16),
    retryConstraint: z
      .object({
        budget: z
          .object({
            percent: z.int().min(0).max(100).default(20),
            interval: duration.default(10_000),
          })
          .prefault({}),
        minRetryRate: z
          .object({
            count: z.int().min(1).max(1_000_000).default(10),
            interval: duration.default(1000),
          })
          .prefault({}),
      })
      .optional(),
    sessionPersistence: z.unknown().optional(),
  }),
})

/** GEP-3949: says to tools which mesh this is, and what it can do. */
export const xMesh = z.object({
  metadata,
  spec: z.object({
    controllerName: z.string().min(1),
    parametersRef: z.unknown().optional(),
  }),
})
