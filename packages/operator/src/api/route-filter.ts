// SPDX-License-Identifier: Apache-2.0
// Filters and backends of routes (Gateway API 1.5, with CORS of GEP-1767). Types that we do not carry out are read too, so that
// the route's condition can say so.
import { z } from 'zod'
import { dnsName, list, portNumber } from './scalar.ts'

export const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}$/, {
  error: 'must be a header name (RFC 9110, 5.1)',
})
// A line break would be a second header.
const headerValue = z
  .string()
  .regex(/^[^\r\n\0]*$/, { error: 'must not contain a line break' })

export const methods = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
] as const

const header = z.strictObject({ name: headerName, value: headerValue })
const headerModifier = z.strictObject({
  set: list(header, 16),
  add: list(header, 16),
  remove: list(headerName, 16),
})
export type HeaderModifier = z.output<typeof headerModifier>

const pathModifier = z
  .strictObject({
    type: z.enum(['ReplaceFullPath', 'ReplacePrefixMatch']),
    replaceFullPath: z.string().max(1024).optional(),
    replacePrefixMatch: z.string().max(1024).optional(),
  })
  .superRefine((modifier, context) => {
    const field =
      modifier.type === 'ReplaceFullPath' ? 'replaceFullPath' : 'replacePrefixMatch'
    const other = field === 'replaceFullPath' ? 'replacePrefixMatch' : 'replaceFullPath'
    if (modifier[field] === undefined) {
      context.addIssue({
        code: 'custom',
        path: [field],
        message: `missing; type is ${modifier.type}`,
      })
    }
    if (modifier[other] !== undefined) {
      context.addIssue({
        code: 'custom',
        path: [other],
        message: `does not go with type ${modifier.type}`,
      })
    }
  })
export type PathModifier = z.output<typeof pathModifier>

const redirect = z.strictObject({
  scheme: z.enum(['http', 'https']).optional(),
  hostname: dnsName.optional(),
  path: pathModifier.optional(),
  port: portNumber.nullish(),
  statusCode: z
    .union(
      [z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)],
      {
        error: 'must be one of 301, 302, 303, 307, 308',
      },
    )
    .default(302),
})
export type Redirect = z.output<typeof redirect>
const rewrite = z.strictObject({
  hostname: dnsName.optional(),
  path: pathModifier.optional(),
})
export type Rewrite = z.output<typeof rewrite>

const objectRef = {
  group: z.string().default(''),
  kind: z.string().default('Service'),
  namespace: dnsName.nullish(),
  name: dnsName,
  port: portNumber.nullish(),
}
const backendObjectRef = z.strictObject(objectRef)
export type BackendObjectRef = z.output<typeof backendObjectRef>

const mirror = z
  .strictObject({
    backendRef: backendObjectRef,
    percent: z.int().min(0).max(100).nullish(),
    fraction: z
      .strictObject({
        numerator: z.int().min(0),
        denominator: z.int().min(1).default(100),
      })
      .refine(({ numerator, denominator }) => numerator <= denominator, {
        error: 'numerator must not exceed denominator',
      })
      .nullish(),
  })
  .refine(
    ({ percent, fraction }) =>
      (percent ?? undefined) === undefined || (fraction ?? undefined) === undefined,
    {
      error: 'percent and fraction exclude each other',
    },
  )
export type Mirror = z.output<typeof mirror>

/** Scheme, host, and port if it is not the scheme's own; the first label may be "*" (GEP-1767). */
const origin = z
  .string()
  .regex(/^(\*|[A-Za-z][A-Za-z0-9+.-]*:\/\/(\*|(\*\.)?[A-Za-z0-9.-]+)(:[0-9]{1,5})?)$/, {
    error: 'must be "*" or <scheme>://<host>, the host possibly beginning with "*."',
  })
  .max(253)
const orStar = <T extends z.ZodType<string>>(item: T, max: number) =>
  list(z.union([z.literal('*'), item]), max).refine(
    (items) => items.length < 2 || !items.includes('*'),
    { error: '"*" must be the only item' },
  )
const cors = z.strictObject({
  allowOrigins: orStar(origin, 64),
  allowCredentials: z.boolean().nullish(),
  allowMethods: orStar(z.enum(methods), 9),
  allowHeaders: orStar(headerName, 64),
  exposeHeaders: list(headerName, 64),
  /** Seconds. */
  maxAge: z.int().min(1).max(2_147_483_647).default(5),
})
export type Cors = z.output<typeof cors>

/** Field that holds the content of each type of filter. */
const filterFields = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  RequestMirror: 'requestMirror',
  CORS: 'cors',
  ExternalAuth: 'externalAuth',
  ExtensionRef: 'extensionRef',
} as const

const filter = z
  .strictObject({
    type: z.enum(Object.keys(filterFields) as (keyof typeof filterFields)[]),
    requestHeaderModifier: headerModifier.optional(),
    responseHeaderModifier: headerModifier.optional(),
    requestRedirect: redirect.optional(),
    urlRewrite: rewrite.optional(),
    requestMirror: mirror.optional(),
    cors: cors.optional(),
    externalAuth: z.unknown().optional(),
    extensionRef: z.unknown().optional(),
  })
  .superRefine((value, context) => {
    for (const [type, field] of Object.entries(filterFields)) {
      const wanted = type === value.type
      if (wanted === (value[field] !== undefined)) continue
      const message = wanted
        ? `missing; type is ${type}`
        : `does not go with type ${value.type}`
      context.addIssue({ code: 'custom', path: [field], message })
    }
  })
export type RouteFilter = z.output<typeof filter>

export const filters = list(filter, 16).superRefine((items, context) => {
  const seen = new Set<string>()
  for (const [i, { type }] of items.entries()) {
    if (seen.has(type) && type !== 'RequestMirror' && type !== 'ExtensionRef') {
      context.addIssue({
        code: 'custom',
        path: [i, 'type'],
        message: `${type} may be used once only`,
      })
    }
    seen.add(type)
  }
  if (seen.has('URLRewrite') && seen.has('RequestRedirect')) {
    context.addIssue({ code: 'custom', message: 'RequestRedirect excludes URLRewrite' })
  }
})

export const backendRef = z.strictObject({
  ...objectRef,
  weight: z.int().min(0).max(1_000_000).default(1),
  filters,
})
export type BackendRef = z.output<typeof backendRef>
