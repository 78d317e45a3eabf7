// SPDX-License-Identifier: Apache-2.0
import { type Balancing, HashSource } from '@pillion/contract'
import { getHeader, type Headers } from '../../headers.ts'
import { fnv1a, mix } from '../hash.ts'

/** Hash of what the balancing goes by, 32 bits; undefined: the request does not have it. `source` is the client's address. */
export function hashKey(
  { hashSource, hashName }: Balancing,
  headers: Headers,
  source: Uint8Array,
): number | undefined {
  switch (hashSource) {
    case HashSource.ADDRESS:
      return mix(fnv1a(source))
    case HashSource.HEADER:
      return ofText(getHeader(headers, hashName))
    case HashSource.COOKIE:
      return ofText(cookieValue(headers, hashName))
    default:
      return undefined
  }
}

function ofText(text: string | undefined): number | undefined {
  return text === undefined ? undefined : mix(fnv1a(Buffer.from(text)))
}

/** First value of the cookie (RFC 6265 5.4). HTTP/2 may send every pair as a field of its own (RFC 9113 8.2.3). */
function cookieValue(headers: Headers, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== 'cookie') continue
    for (const pair of (headers[i + 1] ?? '').split(';')) {
      const equals = pair.indexOf('=')
      if (equals > 0 && pair.slice(0, equals).trim() === name)
        return pair.slice(equals + 1).trim()
    }
  }
  return undefined
}
