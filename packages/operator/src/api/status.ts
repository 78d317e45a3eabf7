// SPDX-License-Identifier: Apache-2.0
// Status of our kinds, as far as it is written.
import { z } from 'zod'

/** Condition of meta/v1. */
const condition = z.strictObject({
  type: z
    .string()
    .max(316)
    .regex(/^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$/)
    .describe('What the condition is about: Accepted, Programmed.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
  observedGeneration: z
    .int()
    .min(0)
    .optional()
    .describe('metadata.generation of the object that the condition speaks of.'),
  lastTransitionTime: z
    .string()
    .meta({ format: 'date-time' })
    .describe('When status last changed.'),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
    .describe('Why, as one word for programs.'),
  message: z.string().max(32_768).describe('Why, in words for people.'),
})

export const status = z.strictObject({
  conditions: z
    .array(condition)
    .max(16)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
    .describe(
      'Accepted: whether the object is valid and in use. Programmed: on how many nodes it is in force.',
    ),
})

/** Of the Mesh: the nodes as well. */
export const meshStatus = status.extend({
  nodes: z
    .strictObject({
      ready: z.int().min(0).describe('Nodes that run what is installed, in good health.'),
      total: z.int().min(0).describe('Nodes that take part.'),
    })
    .optional()
    .describe('How far the installation is.'),
})
