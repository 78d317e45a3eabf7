// SPDX-License-Identifier: Apache-2.0
// The keys of a token provider (RFC 7517): written in the policy, in a file, or behind an address. They are read again when
// they are old, and when a token names a key that is not among them: that is how keys are rotated.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JwtProvider } from '@pillion/contract'
import { createLocalJWKSet, type JSONWebKeySet, type LocalJWKSetResult } from './jose.ts'
import { ask } from '../bounded-http.ts'

/** Limits of key sets. */
export const jwksLimits = {
  maxBytes: 256 * 1024,
  maxKeys: 128,
  timeoutMs: 5000,
  /** Keys whose server says nothing about their age are as old as this at most. */
  defaultAgeMs: 300_000,
  minAgeMs: 10_000,
  maxAgeMs: 86_400_000,
  /** Unknown keys and failures do not ask again before this: tokens are in the hands of strangers. */
  minIntervalMs: 10_000,
} as const

export type KeySource = {
  readonly keys: JwtProvider['keys']
  /** Directory of files; '': none are read. */
  readonly directory: string
}

/** The keys of one source, asked by whoever verifies. Concurrent questions share one fetch. */
export class Jwks {
  readonly #source: KeySource
  readonly #now: () => number
  #keys: LocalJWKSetResult | undefined
  #expiresMs = Number.NEGATIVE_INFINITY
  #refreshedMs = Number.NEGATIVE_INFINITY
  #loading: Promise<void> | undefined
  /** Why the last load failed; '': it did not. */
  problem = ''
  loads = 0

  /** `now` in ms. */
  constructor(source: KeySource, now: () => number) {
    this.#source = source
    this.#now = now
  }

  /**
   * The keys as they are known. Old ones stay in use while their server is away: an outage of the provider must not become
   * one of the mesh. Throws when there never were any.
   */
  async current(): Promise<LocalJWKSetResult> {
    if (this.#now() >= this.#expiresMs) await this.#load()
    if (this.#keys === undefined) throw new Error(`no keys: ${this.problem}`)
    return this.#keys
  }

  /** After a token with a key that `current` does not have. False: it was asked too short a time ago, or in vain. */
  async refresh(): Promise<boolean> {
    if (this.#loading === undefined) {
      if (this.#now() - this.#refreshedMs < jwksLimits.minIntervalMs) return false
      this.#refreshedMs = this.#now()
    }
    await this.#load()
    return this.problem === ''
  }

  async #load(): Promise<void> {
    this.#loading ??= this.#read().finally(() => {
      this.#loading = undefined
    })
    await this.#loading
  }

  async #read(): Promise<void> {
    this.loads++
    try {
      const { text, ageMs } = await read(this.#source)
      this.#keys = createLocalJWKSet(parseKeys(text))
      this.#expiresMs = this.#now() + ageMs
      this.problem = ''
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error)
      this.#expiresMs = this.#now() + jwksLimits.minIntervalMs
    }
  }
}

async function read({
  keys,
  directory,
}: KeySource): Promise<{ text: string; ageMs: number }> {
  switch (keys?.$case) {
    case 'inline':
      return { text: keys.value, ageMs: Number.POSITIVE_INFINITY }
    case 'file': {
      if (directory === '')
        throw new Error(`file ${keys.value}: the proxy has no --jwks-dir to read it from`)
      // A name, never a way out of the directory.
      if (!/^[\w-][\w.-]*$/.test(keys.value))
        throw new Error(`${keys.value} is no file name`)
      const text = await readFile(join(directory, keys.value), 'utf8')
      return { text, ageMs: jwksLimits.minAgeMs }
    }
    case 'uri': {
      const { status, headers, body } = await ask(keys.value, {
        ...{ method: 'GET', headers: { accept: 'application/json' }, body: undefined },
        ...{ timeoutMs: jwksLimits.timeoutMs, maxBytes: jwksLimits.maxBytes },
      })
      if (status !== 200) throw new Error(`GET ${keys.value}: status ${status}, not 200`)
      return { text: body.toString(), ageMs: ageOf(headers['cache-control']) }
    }
    case undefined:
      throw new Error('the provider names no keys')
  }
}

/** What Cache-Control allows, within our bounds. */
function ageOf(cacheControl: string | string[] | undefined): number {
  const text = String(cacheControl ?? '').toLowerCase()
  if (/\bno-(store|cache)\b/.test(text)) return jwksLimits.minAgeMs
  const seconds = /\bmax-age=(\d{1,9})/.exec(text)?.[1]
  const ageMs = seconds === undefined ? jwksLimits.defaultAgeMs : Number(seconds) * 1000
  return Math.min(jwksLimits.maxAgeMs, Math.max(jwksLimits.minAgeMs, ageMs))
}

/** Symmetric keys are left out: a key that everybody may fetch must never verify an HMAC. */
export function parseKeys(text: string): JSONWebKeySet {
  if (text.length > jwksLimits.maxBytes)
    throw new Error(`the key set is longer than ${jwksLimits.maxBytes} bytes`)
  const set = JSON.parse(text) as { keys?: unknown }
  if (!Array.isArray(set.keys)) throw new Error('not a JWK set: it has no list "keys"')
  if (set.keys.length > jwksLimits.maxKeys)
    throw new Error(`the key set has more than ${jwksLimits.maxKeys} keys`)
  const keys = (set.keys as JSONWebKeySet['keys']).filter(({ kty }) => kty !== 'oct')
  if (keys.length === 0) throw new Error('the key set has no public key')
  return { keys }
}
