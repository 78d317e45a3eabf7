// SPDX-License-Identifier: Apache-2.0
import { type Balancing, HashSource } from '@pillion/contract'
import { cookieValue, getHeader, type Headers } from '../../headers.ts'
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
