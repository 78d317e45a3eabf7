// SPDX-License-Identifier: Apache-2.0
// Session persistence (GEP-1619) without state: the client is given a token that names its endpoint by a hash, and sends it back
// as a cookie or a header. Every proxy understands every other's token. It is no secret and no proof: who forges one chooses
// among the endpoints of the rule, which policy then judges as ever.
import { createHash } from 'node:crypto'
import type { Endpoint } from '../cluster/endpoint.ts'
import type { Members } from '../cluster/members.ts'
import { cookieValue, getHeader, type Headers } from '../headers.ts'
import type { BackendRef, Rule, SessionRule } from '../route/table.ts'

/** A session that the client has sent and that is in force. */
export type Session = {
  readonly backend: BackendRef
  readonly endpoint: Endpoint
  /** Seconds since 1970. */
  readonly startedSeconds: number
}

/** Seconds since 1970: tokens live longer than processes, and on other nodes. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000)
}

const ids = new WeakMap<Endpoint, string>()

/**
 * The session of a request, or undefined: none was sent, it has timed out, its endpoint is gone or not ready, or its backend
 * has no weight any more. A session stays with its backend, whatever the weights of the others.
 */
export function resumeSession(
  rule: Rule,
  headers: Headers,
  services: ReadonlyMap<string, Members>,
  nowSeconds: number,
): Session | undefined {
  const { session } = rule
  if (session === undefined) return undefined
  const [id, started = '', used = ''] = tokenOf(session, headers)?.split('.') ?? []
  const startedSeconds = parseInt(started, 36)
  const usedSeconds = parseInt(used, 36)
  if (id === undefined || Number.isNaN(startedSeconds) || Number.isNaN(usedSeconds))
    return undefined
  if (isPast(startedSeconds, session.absoluteSeconds, nowSeconds)) return undefined
  if (isPast(usedSeconds, session.idleSeconds, nowSeconds)) return undefined
  for (const backend of rule.backends) {
    const ready = services.get(backend.servicePort ?? '')?.ready
    const endpoint = ready?.find((each) => idOf(each) === id)
    if (endpoint !== undefined) return { backend, endpoint, startedSeconds }
  }
  return undefined
}

/** The field that keeps the client where `endpoint` answered it; none when it has it already. */
export function sessionField(
  rule: SessionRule,
  session: Session | undefined,
  endpoint: Endpoint,
  nowSeconds: number,
): Headers {
  const kept = session !== undefined && session.endpoint === endpoint
  // The time of the last use is in the token.
  if (kept && rule.idleSeconds === 0) return []
  const started = kept ? session.startedSeconds : nowSeconds
  const token = `${idOf(endpoint)}.${started.toString(36)}.${nowSeconds.toString(36)}`
  if (rule.kind === 'header') return [rule.name, token]
  const left = rule.absoluteSeconds - (nowSeconds - started)
  const age = rule.permanent ? `; Max-Age=${left}` : ''
  return ['set-cookie', `${rule.name}=${token}; Path=/; HttpOnly${age}`]
}

function isPast(fromSeconds: number, boundSeconds: number, nowSeconds: number): boolean {
  return boundSeconds > 0 && nowSeconds - fromSeconds > boundSeconds
}

/** 96 bits: endpoints of one rule do not meet by chance. */
function idOf(endpoint: Endpoint): string {
  const known = ids.get(endpoint)
  if (known !== undefined) return known
  const id = createHash('sha256').update(endpoint.name).digest('base64url').slice(0, 16)
  ids.set(endpoint, id)
  return id
}

function tokenOf({ kind, name }: SessionRule, headers: Headers): string | undefined {
  if (kind === 'header') return getHeader(headers, name)
  return cookieValue(headers, name)
}
