// SPDX-License-Identifier: Apache-2.0
// HTTPRoute and GRPCRoute (Gateway API 1.5, with GEP-1731 retries). Fields that we do not carry out are read too, so that the
// route's condition can say so; a field that does not exist is an error.
import { z } from 'zod'
import { metadata } from './core.ts'
import { checkPattern } from './pattern.ts'
import { backendRef, filters, headerName, methods } from './route-filter.ts'
import { dnsName, duration, list, portNumber } from './scalar.ts'
import { sessionPersistence } from './session.ts'

const parentRef = z.strictObject({
  group: z.string().default('gateway.networking.k8s.io'),
  kind: z.string().default('Gateway'),
  namespace: dnsName.nullish(),
  name: dnsName,
  sectionName: z.string().nullish(),
  port: portNumber.nullish(),
})
export type ParentRef = z.output<typeof parentRef>

const pathType = z.enum(['Exact', 'PathPrefix', 'RegularExpression'])
const path = z
  .strictObject({
    type: pathType.default('PathPrefix'),
    value: z.string().max(1024).default('/'),
  })
  .superRefine(({ type, value }, context) => {
    if (type === 'RegularExpression') return checkPattern(context, 'value', value)
    const bad = (message: string): void =>
      context.addIssue({ code: 'custom', path: ['value'], message })
    if (!value.startsWith('/')) bad('must start with "/"')
    // The same list as the CRD's own rules: such a path never arrives after normalisation.
    for (const part of ['//', '/./', '/../', '%2f', '%2F', '#']) {
      if (value.includes(part)) bad(`must not contain "${part}"`)
    }
    if (/\/\.{1,2}$/.test(value)) bad('must not end in "/." or "/.."')
    if (/[\s?]/.test(value)) bad('must not contain a blank or "?"')
  })

const valueMatch = (name: typeof headerName | z.ZodString) =>
  z
    .strictObject({
      type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
      name,
      value: z.string().max(4096),
    })
    .superRefine(({ type, value }, context) => {
      if (type === 'RegularExpression') checkPattern(context, 'value', value)
    })

/** GEP-1731, the text of August 2026: attempts are retries, codes 400 to 599, backoff a base interval. */
const retry = z.strictObject({
  codes: list(z.int().min(400).max(599)),
  attempts: z.int().min(0).max(100).optional(),
  backoff: duration.optional(),
})
export type RouteRetry = z.output<typeof retry>

const timeouts = z
  .strictObject({ request: duration.optional(), backendRequest: duration.optional() })
  .superRefine(({ request, backendRequest }, context) => {
    // 0s disables, so it is never the smaller one.
    if (request === undefined || backendRequest === undefined || request === 0) return
    if (backendRequest <= request) return
    context.addIssue({
      code: 'custom',
      path: ['backendRequest'],
      message: 'must not exceed request',
    })
  })

const httpRule = z
  .strictObject({
    name: z.string().max(253).nullish(),
    matches: list(
      z.strictObject({
        path: path.default({ type: 'PathPrefix', value: '/' }),
        headers: list(valueMatch(headerName), 16),
        queryParams: list(valueMatch(z.string().min(1).max(256)), 16),
        method: z.enum(methods).optional(),
      }),
      64,
    ),
    filters,
    backendRefs: list(backendRef, 16),
    timeouts: timeouts.optional(),
    retry: retry.optional(),
    sessionPersistence: sessionPersistence.optional(),
  })
  .superRefine((rule, context) => {
    const redirects = rule.filters.some(({ type }) => type === 'RequestRedirect')
    if (redirects && rule.backendRefs.length > 0) {
      context.addIssue({
        code: 'custom',
        path: ['backendRefs'],
        message: 'RequestRedirect excludes backendRefs',
      })
    }
    const prefixes = rule.matches.every((match) => match.path.type === 'PathPrefix')
    for (const [i, { requestRedirect, urlRewrite }] of rule.filters.entries()) {
      const type = (requestRedirect?.path ?? urlRewrite?.path)?.type
      if (type !== 'ReplacePrefixMatch' || prefixes) continue
      const message = 'ReplacePrefixMatch needs matches of type PathPrefix'
      context.addIssue({ code: 'custom', path: ['filters', i], message })
    }
  })

const commonSpec = {
  parentRefs: list(parentRef, 32),
  hostnames: list(z.string(), 16),
  useDefaultGateways: z.unknown().optional(),
}

export const httpRoute = z.object({
  metadata,
  spec: z.strictObject({ ...commonSpec, rules: list(httpRule, 64) }),
})

const grpcName = z.string().regex(/^[A-Za-z_][A-Za-z_0-9.]*$/, {
  error: 'must be a gRPC service or method name',
})
const grpcMethod = z
  .strictObject({
    type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
    service: z.string().optional(),
    method: z.string().optional(),
  })
  .superRefine((match, context) => {
    if (match.service === undefined && match.method === undefined) {
      context.addIssue({ code: 'custom', message: 'must have service or method' })
    }
    for (const field of ['service', 'method'] as const) {
      if (match[field] === undefined) continue
      if (match.type === 'RegularExpression') checkPattern(context, field, match[field])
      else if (!grpcName.safeParse(match[field]).success)
        context.addIssue({
          code: 'custom',
          path: [field],
          message: `must be the name of a gRPC ${field}`,
        })
    }
  })

export const grpcRoute = z.object({
  metadata,
  spec: z.strictObject({
    ...commonSpec,
    rules: list(
      z.strictObject({
        name: z.string().max(253).nullish(),
        matches: list(
          z.strictObject({
            method: grpcMethod.optional(),
            headers: list(valueMatch(headerName), 16),
          }),
          64,
        ),
        filters,
        backendRefs: list(backendRef, 16),
        sessionPersistence: sessionPersistence.optional(),
      }),
      64,
    ),
  }),
})
