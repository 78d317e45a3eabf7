// SPDX-License-Identifier: Apache-2.0
// Session persistence of route rules (GEP-1619).
import { z } from 'zod'
import { duration } from './scalar.ts'

export const sessionPersistence = z
  .strictObject({
    // A cookie's name and a header's are both tokens (RFC 6265 4.1.1, RFC 9110 5.1).
    sessionName: z
      .string()
      .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}$/, {
        error: 'must be the name of a cookie or header',
      })
      .nullish(),
    absoluteTimeout: duration.nullish(),
    idleTimeout: duration.nullish(),
    type: z.enum(['Cookie', 'Header']).default('Cookie'),
    cookieConfig: z
      .strictObject({ lifetimeType: z.enum(['Session', 'Permanent']).default('Session') })
      .nullish(),
  })
  .superRefine(({ type, cookieConfig, absoluteTimeout }, context) => {
    const bad = (field: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [field], message })
    if (type === 'Header' && cookieConfig)
      bad('cookieConfig', 'does not go with type Header')
    if (cookieConfig?.lifetimeType === 'Permanent' && !absoluteTimeout)
      bad('absoluteTimeout', 'missing; cookieConfig.lifetimeType is Permanent')
  })
export type SessionPersistence = z.output<typeof sessionPersistence>
