// SPDX-License-Identifier: Apache-2.0
// What a request may look like beyond what the parsers of node refuse themselves. One reading only: whatever another server
// might understand differently is refused, because the difference is where requests are smuggled (RFC 9112 11.2).
import { isIPv6 } from 'node:net'
import type { ProxyErrorCode } from '../errors.ts'
import { type Headers, joinedHeader } from '../headers.ts'

/** Why a request is refused before it reaches the pipeline. */
export type Refusal = { readonly code: ProxyErrorCode; readonly detail: string }

/** Where a request goes, as its first line says it. */
export type Target = {
  /** Path and query, or "*". */
  readonly path: string
  /** Of the absolute form; it wins over Host (RFC 9112 3.2.2). */
  readonly authority: string | undefined
}

const authority = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|[A-Za-z0-9._~-]{1,255})(?::(\d{1,5}))?$/
/** Visible ASCII without "#": fragments are not sent, and some servers cut a path there. */
const path = /^\/[!"$-~]*$/
const absolute = /^https?:\/\/([^/?#]*)([/?].*)?$/is

/**
 * A host name, IPv4 or bracketed IPv6 address, with or without a port. Narrower than RFC 3986: no user, no percent signs,
 * no sub-delimiters; nothing in a cluster has such a name, and parsers disagree about each of them.
 */
export function isAuthority(text: string): boolean {
  const found = authority.exec(text)
  if (found === null) return false
  const [, address, port] = found
  return (address === undefined || isIPv6(address)) && Number(port ?? 0) <= 65_535
}

/** A path that every server reads alike: absolute, visible ASCII, no fragment. */
export function isPath(text: string): boolean {
  return path.test(text)
}

/** Origin, absolute and asterisk form (RFC 9112 3.2); undefined: none of them. */
export function readTarget(method: string, url: string): Target | undefined {
  if (method === 'CONNECT')
    return isAuthority(url) ? { path: '', authority: url } : undefined
  if (url.startsWith('/'))
    return isPath(url) ? { path: url, authority: undefined } : undefined
  if (url === '*')
    return method === 'OPTIONS' ? { path: '*', authority: undefined } : undefined
  const [matched, host = '', rest = ''] = absolute.exec(url) ?? []
  if (matched === undefined || !isAuthority(host)) return undefined
  const tail = rest.startsWith('/') ? rest : `/${rest}`
  return isPath(tail) ? { path: tail, authority: host } : undefined
}

/**
 * Transfer-Encoding of a message (RFC 9112 6.1). We decode chunks and nothing else, so whatever else is applied below them
 * would be lost on the way: refused as not implemented.
 */
export function refuseEncoding(headers: Headers, http10: boolean): Refusal | undefined {
  const coding = joinedHeader(headers, 'transfer-encoding')
  if (coding === undefined || (!http10 && coding.toLowerCase() === 'chunked'))
    return undefined
  const detail = `Transfer-Encoding: ${coding.slice(0, 64)}`
  if (http10) return { code: 'BAD_REQUEST', detail: `${detail} in HTTP/1.0` }
  const codings = coding.toLowerCase().split(/[ \t]*,[ \t]*/)
  const listed =
    codings.every((each) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(each)) &&
    codings.indexOf('chunked') === codings.length - 1
  return { code: listed ? 'ENCODING_UNSUPPORTED' : 'BAD_REQUEST', detail }
}

/**
 * True when an Upgrade may become a tunnel: one protocol, and not one in which more requests could be sent past routes and
 * policy (h2c, HTTP, TLS: RFC 9110 7.8 lets us decline by answering in HTTP/1.1).
 */
export function mayTunnel(upgrade: string | undefined): boolean {
  return (
    upgrade !== undefined &&
    /^[A-Za-z0-9!#$%&'*+.^_`~-]+(?:\/[A-Za-z0-9.]+)?$/.test(upgrade) &&
    !/^(?:h2c?|http|tls)\b/i.test(upgrade)
  )
}
