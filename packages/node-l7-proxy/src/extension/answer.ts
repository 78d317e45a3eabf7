// SPDX-License-Identifier: Apache-2.0
// PURE: what a filter returned -> an answer that can be sent, or a TypeError that says why not.
import type { Headers } from '../headers.ts'
import { changeableName, checkValue, maxEdits } from './fields.ts'
import type { CheckedAnswer } from './wire.ts'

export const maxAnswerLength = 65_536

/** Of statuses without an entry: UNKNOWN (grpc/grpc doc/http-grpc-status-mapping.md). 2xx is no failure of the call. */
const grpcOf: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
}

/** undefined stays undefined: the request goes on. */
export function checkedAnswer(returned: unknown): CheckedAnswer | undefined {
  if (returned === undefined || returned === null) return undefined
  if (typeof returned !== 'object')
    throw new TypeError(`an answer is an object with a status, not a ${typeof returned}`)
  const {
    status,
    headers = {},
    body = '',
    grpcStatus,
  } = returned as Record<string, unknown>
  if (!isIn(status, 200, 599))
    throw new TypeError(`status of an answer must be 200 to 599, not ${String(status)}`)
  if (typeof body !== 'string' || Buffer.byteLength(body) > maxAnswerLength)
    throw new TypeError(
      `body of an answer must be a text of ${maxAnswerLength} bytes at most`,
    )
  if (body !== '' && (status === 204 || status === 304))
    throw new TypeError(`an answer of status ${status} has no body`)
  if (grpcStatus !== undefined && !isIn(grpcStatus, 0, 16))
    throw new TypeError('grpcStatus of an answer must be 0 to 16')
  const call = grpcStatus ?? (status < 300 ? 0 : (grpcOf[status] ?? 2))
  return { status, headers: checkedHeaders(headers), body, grpcStatus: call }
}

function checkedHeaders(headers: unknown): Headers {
  if (typeof headers !== 'object' || headers === null)
    throw new TypeError('headers of an answer must be an object')
  const entries = Object.entries(headers as Record<string, string>)
  if (entries.length > maxEdits)
    throw new TypeError(`an answer may have ${maxEdits} header fields`)
  return entries.flatMap(([key, value]) => {
    const name = changeableName(key)
    checkValue(name, value)
    return [name, value]
  })
}

/** A whole number from `low` to `high`. */
export function isIn(value: unknown, low: number, high: number): value is number {
  return Number.isInteger(value) && Number(value) >= low && Number(value) <= high
}
