// SPDX-License-Identifier: Apache-2.0
// The part of AccessPolicy that is about requests: what a proxy asks before it lets one through.
import { z } from 'zod'
import { ruled } from './rule.ts'
import { duration, items, list } from './scalar.ts'

/** Items of a list here: the API server prices its rules by it. */
const maxItems = 16

/** Characters of a token (RFC 9110 5.6.2). */
const token = (what: string) =>
  z
    .string()
    .max(128)
    .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, { error: `must be ${what}` })

/** A segment that is neither empty nor "." nor "..". */
const character = "([A-Za-z0-9_~!$&'()*+,=:@-]|%[0-9A-F]{2})"
const segment = `(${character}|\\.${character}|\\.\\.(\\.|${character}))(\\.|${character})*`

/** In normal form, or no request would ever match it. */
const path = z
  .string()
  .max(1024)
  .regex(new RegExp(`^/(${segment}(/${segment})*/?)?$`), {
    error:
      'must be an absolute path, as "/api/v1", without empty segments, "." and ".."; percent-encoding has capital digits',
  })

const value = z.string().max(1024)

const pathCondition = z.strictObject({
  type: z
    .enum(['Exact', 'PathPrefix'])
    .default('PathPrefix')
    .describe(
      'Exact: this path. PathPrefix: it and what is below; "/v2" is for "/v2" and "/v2/x", not for "/v2x".',
    ),
  value: path.describe('The path, without a query. Case matters.'),
})

const headerCondition = z.strictObject({
  name: token('the name of a header').describe('Name of the header, in any case.'),
  values: list(value, maxItems).describe(
    'One of these is the value. Empty or absent: any value.',
  ),
})

const claimCondition = z.strictObject({
  claim: z
    .array(z.string().min(1).max(256))
    .min(1)
    .max(8)
    .describe('Claim, and the members within it: ["realm_access", "roles"].'),
  values: list(value, maxItems).describe(
    'One of these is the value, or an item of it; of "scope", a word. Empty or absent: any value.',
  ),
})

export const accessHttp = z.strictObject({
  methods: list(token('a method, as "GET"'), maxItems).describe(
    'One of these is the method. Empty or absent: any method.',
  ),
  paths: list(pathCondition, maxItems).describe(
    'One of these matches the path, in its normal form. Empty or absent: any path.',
  ),
  headers: list(headerCondition, maxItems).describe('All of these headers match.'),
  claims: list(claimCondition, maxItems).describe(
    'All of these claims match, of a valid token of an issuer in jwt.',
  ),
  token: z
    .boolean()
    .default(false)
    .describe('Whether a valid token is needed, whatever it claims.'),
})

const algorithms = [
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
  ...(['ES256', 'ES384', 'ES512', 'EdDSA'] as const),
] as const

const jwks = ruled(
  z.strictObject({
    inline: z
      .string()
      .min(1)
      .max(65_536)
      .optional()
      .describe('The key set itself, as JSON.'),
    uri: z
      .string()
      .max(1024)
      .regex(/^https:\/\/[A-Za-z0-9.:[\]-]+(\/[!-~]*)?$/, {
        error: 'must be an https address',
      })
      .optional()
      .describe(
        'Where proxies fetch it. They follow no redirects, and keep it while the server is away.',
      ),
    file: z
      .string()
      .max(253)
      .regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/, { error: 'must be the name of a file' })
      .optional()
      .describe("Name of a file in the proxies' --jwks-dir."),
  }),
  {
    cel: '(has(self.inline) ? 1 : 0) + (has(self.uri) ? 1 : 0) + (has(self.file) ? 1 : 0) == 1',
    holds: (source) =>
      Object.values(source).filter((each) => each !== undefined).length === 1,
    message: 'must have exactly one of inline, uri and file',
  },
)

export const jwtProvider = z.strictObject({
  issuer: z.string().min(1).max(1024).describe('The claim iss of its tokens.'),
  audiences: list(value, maxItems).describe(
    'One of these is in the claim aud. Empty or absent: not looked at.',
  ),
  jwks: jwks.describe('Public keys of the issuer, as a JSON Web Key Set (RFC 7517).'),
  algorithms: items(z.enum(algorithms), algorithms.length)
    .min(1)
    .prefault(['RS256', 'ES256', 'EdDSA'])
    .describe('Signature algorithms of its tokens.'),
  clockSkew: duration
    .prefault('60s')
    .describe('How far clocks may differ when a token begins or ends.'),
})

export type AccessHttp = z.output<typeof accessHttp>
export type JwtProviderSpec = z.output<typeof jwtProvider>
