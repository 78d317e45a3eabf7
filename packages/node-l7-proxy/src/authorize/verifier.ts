// SPDX-License-Identifier: Apache-2.0
// Tokens of requests (RFC 7519, RFC 6750): who issued them, whether they hold, what they say.
import { createHash } from 'node:crypto'
import type { JwtProvider, RequestToken } from '@pillion/contract'
import { type Headers, joinedHeader } from '../headers.ts'
import { decodeJwt, errors, jwtVerify } from './jose.ts'
import { Jwks } from './jwks.ts'

/** Limits of tokens. */
export const tokenLimits = {
  maxBytes: 8192,
  /** Verified tokens that are remembered, so that a client's second request costs no signature. */
  remembered: 4096,
  /** A remembered token is verified again after this, so that keys that were withdrawn end. */
  rememberedMs: 60_000,
} as const

/** Signatures that a public key verifies. */
export const asymmetricAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
] as const

export type Verdict =
  | { readonly kind: 'none' }
  | { readonly kind: 'valid'; readonly token: RequestToken }
  | { readonly kind: 'invalid'; readonly why: string }

const none: Verdict = { kind: 'none' }

type Remembered = { readonly verdict: Verdict; readonly untilMs: number }

/** The token of a request, without its scheme; undefined: there is none. Two of them are one that is not valid. */
export function bearerOf(headers: Headers): string | undefined {
  const value = joinedHeader(headers, 'authorization')
  if (value === undefined) return undefined
  return /^Bearer +(.+)$/i.exec(value)?.[1]
}

export class Verifier {
  readonly #directory: string
  readonly #now: () => number
  readonly #sources: Map<string, Jwks> = new Map()
  readonly #remembered: Map<string, Remembered> = new Map()
  readonly #numbers: WeakMap<readonly JwtProvider[], number> = new WeakMap()
  #lastNumber = 0
  verified = 0

  /** `directory`: of key files; `now`: wall clock in ms. */
  constructor(directory: string, now: () => number = Date.now) {
    this.#directory = directory
    this.#now = now
  }

  /** The verdict without waiting, where it is known: no token, a hopeless one, or one that came before. */
  known(
    providers: readonly JwtProvider[],
    bearer: string | undefined,
  ): Verdict | undefined {
    if (bearer === undefined) return none
    if (bearer.length > tokenLimits.maxBytes)
      return invalid(`longer than ${tokenLimits.maxBytes} bytes`)
    const found = this.#remembered.get(this.#keyOf(providers, bearer))
    return found !== undefined && this.#now() < found.untilMs ? found.verdict : undefined
  }

  /** Never throws: what cannot be verified is invalid. */
  async verify(providers: readonly JwtProvider[], bearer: string): Promise<Verdict> {
    const verdict = await this.#verify(providers, bearer)
    this.#remember(this.#keyOf(providers, bearer), verdict)
    return verdict
  }

  /** Sources and their last problems, for /debug/config. */
  problems(): Record<string, string> {
    return Object.fromEntries(
      [...this.#sources].map(([key, { problem }]) => [key, problem]),
    )
  }

  async #verify(providers: readonly JwtProvider[], bearer: string): Promise<Verdict> {
    let issuer: unknown
    try {
      issuer = decodeJwt(bearer).iss
    } catch {
      return invalid('not a JWT')
    }
    const issuers = providers.filter((provider) => provider.issuer === issuer)
    let verdict: Verdict = invalid('its issuer is not one that the policy names')
    // Two policies may name the same issuer with different keys or audiences.
    for (const provider of issuers) {
      verdict = await this.#verifyBy(provider, bearer)
      if (verdict.kind === 'valid') return verdict
    }
    return verdict
  }

  async #verifyBy(provider: JwtProvider, bearer: string): Promise<Verdict> {
    this.verified++
    const jwks = this.#jwks(provider)
    try {
      return await this.#check(provider, bearer, jwks)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) return invalid(reason(error))
      try {
        if (!(await jwks.refresh())) return invalid(reason(error))
        return await this.#check(provider, bearer, jwks)
      } catch (again) {
        return invalid(reason(again))
      }
    }
  }

  async #check(provider: JwtProvider, bearer: string, jwks: Jwks): Promise<Verdict> {
    const { issuer, audiences, algorithms, clockSkewSeconds } = provider
    const allowed: readonly string[] = asymmetricAlgorithms
    const { payload } = await jwtVerify(bearer, await jwks.current(), {
      issuer,
      // Whatever a configuration says: "none" and HMAC never.
      algorithms: algorithms.filter((name) => allowed.includes(name)),
      clockTolerance: clockSkewSeconds,
      currentDate: new Date(this.#now()),
      requiredClaims: ['exp'],
      ...(audiences.length > 0 && { audience: audiences }),
    })
    return { kind: 'valid', token: { provider, claims: payload } }
  }

  #jwks(provider: JwtProvider): Jwks {
    const key = JSON.stringify(provider.keys)
    const known = this.#sources.get(key)
    if (known !== undefined) return known
    const source = { keys: provider.keys, directory: this.#directory }
    const made = new Jwks(source, this.#now)
    this.#sources.set(key, made)
    return made
  }

  /** Forgets sources that no policy names any more. */
  prune(
    policies: ReadonlyMap<unknown, { readonly providers: readonly JwtProvider[] }>,
  ): void {
    const providers = [...policies.values()].flatMap((policy) => policy.providers)
    const used = new Set(providers.map(({ keys }) => JSON.stringify(keys)))
    for (const key of this.#sources.keys()) if (!used.has(key)) this.#sources.delete(key)
    this.#remembered.clear()
  }

  /** Not the token itself: a memory dump should not be a bag of credentials. By providers: one's "valid" is not another's. */
  #keyOf(providers: readonly JwtProvider[], bearer: string): string {
    let number = this.#numbers.get(providers)
    if (number === undefined) this.#numbers.set(providers, (number = ++this.#lastNumber))
    return `${number} ${createHash('sha256').update(bearer).digest('base64')}`
  }

  /** Invalid ones are not remembered: their keys may come with the next rotation, and strangers could fill the table. */
  #remember(key: string, verdict: Verdict): void {
    if (verdict.kind !== 'valid') return
    const { provider, claims } = verdict.token
    const expiresMs = (Number(claims['exp']) + provider.clockSkewSeconds) * 1000
    const untilMs = Math.min(expiresMs, this.#now() + tokenLimits.rememberedMs)
    this.#remembered.delete(key)
    this.#remembered.set(key, { verdict, untilMs })
    const [oldest] = this.#remembered.keys()
    if (this.#remembered.size > tokenLimits.remembered && oldest !== undefined)
      this.#remembered.delete(oldest)
  }
}

function invalid(why: string): Verdict {
  return { kind: 'invalid', why }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
