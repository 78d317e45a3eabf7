// SPDX-License-Identifier: Apache-2.0
// The operator's certificate authority: which certificates there have to be at a time. Everything is decided from one value,
// the bundle, so that any replica can go on where another stopped.
import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { issue, type Pair } from './x509.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** Lifetimes; what is renewed is renewed early enough for weeks without an operator. */
export const caLimits = {
  caMs: 3_650 * dayMs,
  /** A CA with less left than this gets a successor. */
  caRenewMs: 365 * dayMs,
  /**
   * How long nodes trust a new CA before it signs, and an old one after it does not any more. They read the ConfigMap
   * anew for every stream, kubelet writes it within two minutes, and streams last an hour at most.
   */
  overlapMs: dayMs,
  servingMs: 90 * dayMs,
  /** Served for two thirds of its life, then renewed. */
  servingRenewMs: 60 * dayMs,
  /** Certificates begin in the past: clocks of nodes may be behind. */
  backdateMs: hourMs,
} as const

/** Everything that the operator has to keep: Secret `pillion-operator-tls`. */
export interface Bundle {
  /** Signs. */
  readonly ca: Pair
  /** Trusted, and will sign when nodes know it. */
  readonly next: Pair | undefined
  /** PEM of the CA that signed before; still trusted for a while. */
  readonly previous: string | undefined
  readonly serving: Pair
}

/** PEM of every CA that nodes have to trust: ConfigMap `pillion-ca`, key `ca.crt`. */
export function trustOf({ ca, next, previous }: Bundle): string {
  return [ca.cert, next?.cert ?? '', previous ?? ''].join('')
}

/**
 * The bundle that is right at `now` (ms since 1970) for a server with these DNS names and addresses; the same value when
 * nothing has to change. A CA is replaced in three steps, `overlapMs` apart: trusted, signing, the old one forgotten.
 */
export function renew(
  bundle: Bundle | undefined,
  names: readonly string[],
  now: number,
): Bundle {
  const [commonName = ''] = names
  if (commonName === '') throw new RangeError('a certificate needs a name')
  const authority = rotate(bundle, now)
  const { ca, serving } = authority
  const isGood = serving !== undefined && isServable(serving, ca, names, now)
  if (isGood && authority === bundle) return bundle
  return { ...authority, serving: isGood ? serving : newServing(ca, names, now) }
}

type Authority = Omit<Bundle, 'serving'> & { readonly serving: Pair | undefined }

function rotate(bundle: Bundle | undefined, now: number): Authority {
  const { caRenewMs, overlapMs } = caLimits
  if (bundle === undefined || endOf(bundle.ca.cert) <= now) {
    // After an end there is nobody left who trusts the old one.
    return { ca: newCa(now), next: undefined, previous: undefined, serving: undefined }
  }
  const { ca, next, previous } = bundle
  if (next !== undefined) {
    if (now < madeAt(next.cert) + overlapMs) return bundle
    return { ca: next, next: undefined, previous: ca.cert, serving: undefined }
  }
  if (previous !== undefined) {
    // It signs since it was `overlapMs` old.
    if (now < madeAt(ca.cert) + 2 * overlapMs) return bundle
    return { ...bundle, previous: undefined }
  }
  return endOf(ca.cert) - now < caRenewMs ? { ...bundle, next: newCa(now) } : bundle
}

function newCa(now: number): Pair {
  return issue({
    // With its year and month, so that people can tell two apart.
    commonName: `Pillion operator CA ${new Date(now).toISOString().slice(0, 7)}`,
    notBefore: now - caLimits.backdateMs,
    notAfter: now + caLimits.caMs,
    names: undefined,
  })
}

function newServing(ca: Pair, names: readonly string[], now: number): Pair {
  const notAfter = Math.min(now + caLimits.servingMs, endOf(ca.cert))
  // The upper bound of a common name is 64 characters (X.520); clients look at the alternative names only.
  const commonName = (names[0] ?? '').slice(0, 64)
  return issue({ commonName, notBefore: now - caLimits.backdateMs, notAfter, names }, ca)
}

function isServable(
  { cert, key }: Pair,
  ca: Pair,
  names: readonly string[],
  now: number,
): boolean {
  const serving = new X509Certificate(cert)
  const isNamed = names.every((name) =>
    isIP(name) === 0
      ? serving.checkHost(name, { subject: 'never' }) !== undefined
      : serving.checkIP(name) !== undefined,
  )
  return (
    key !== '' &&
    isNamed &&
    now < madeAt(cert) + caLimits.servingRenewMs &&
    now < endOf(cert) &&
    serving.verify(new X509Certificate(ca.cert).publicKey)
  )
}

/** When a certificate ends, in ms since 1970. */
export function endOf(cert: string): number {
  return new X509Certificate(cert).validToDate.getTime()
}

function madeAt(cert: string): number {
  return new X509Certificate(cert).validFromDate.getTime() + caLimits.backdateMs
}
