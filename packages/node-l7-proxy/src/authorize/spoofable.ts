// SPDX-License-Identifier: Apache-2.0
// What a client says that only the mesh may say, and what it says about itself that the mesh knows better.
import { type Headers, joinedHeader, setHeader } from '../headers.ts'

/** Removed from every request: who is behind a certificate, and what only proxies tell each other. */
const reservedNames = new Set([
  'x-forwarded-client-cert',
  'x-forwarded-client-certificate',
])
const reservedPrefixes = ['x-pillion-', 'x-envoy-'] as const

/** In place, in one pass. */
export function removeSpoofable(headers: Headers): void {
  let to = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (name.startsWith('x-') && isReserved(name)) continue
    if (to !== i) {
      headers[to] = name
      headers[to + 1] = headers[i + 1] ?? ''
    }
    to += 2
  }
  headers.length = to
}

/**
 * Appends who really asks to X-Forwarded-For: its last item is the mesh's own word; what is before it is the client's. The
 * endpoint cannot see the client's address otherwise, because the proxy connects from the node's.
 */
export function appendForwardedFor(headers: Headers, address: string): void {
  const claimed = joinedHeader(headers, 'x-forwarded-for')
  setHeader(
    headers,
    'x-forwarded-for',
    claimed === undefined || claimed === '' ? address : `${claimed}, ${address}`,
  )
}

function isReserved(name: string): boolean {
  return (
    reservedNames.has(name) || reservedPrefixes.some((prefix) => name.startsWith(prefix))
  )
}
