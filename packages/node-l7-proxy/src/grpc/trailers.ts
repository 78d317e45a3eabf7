// SPDX-License-Identifier: Apache-2.0
import type { OutgoingHttpHeaders } from 'node:http'
import type { Headers } from '../headers.ts'

/** Trailers as node's sendTrailers wants them; pseudo fields never (RFC 9113 8.1). */
export function toTrailers(trailers: Headers | undefined): OutgoingHttpHeaders {
  const object: Record<string, string | string[]> = {}
  if (trailers === undefined) return object
  for (let i = 0; i < trailers.length; i += 2) {
    const name = trailers[i] ?? ''
    const value = trailers[i + 1] ?? ''
    if (name.startsWith(':')) continue
    const old = object[name]
    if (old === undefined) object[name] = value
    else object[name] = Array.isArray(old) ? [...old, value] : [old, value]
  }
  return object
}
