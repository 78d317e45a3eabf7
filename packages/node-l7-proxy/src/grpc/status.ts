// SPDX-License-Identifier: Apache-2.0
// gRPC over HTTP/2 (grpc/grpc doc/PROTOCOL-HTTP2.md): status numbers, message encoding, how a call is recognised.
import { grpcCodes } from '@pillion/contract'
import { getHeader, type Headers } from '../headers.ts'

const names: readonly string[] = ['OK', ...grpcCodes]

/** "UNAVAILABLE" -> 14. Throws a TypeError on a name that gRPC does not have. */
export function statusNumber(name: string): number {
  const number = names.indexOf(name.toUpperCase().replaceAll('-', '_'))
  if (number < 0) throw new TypeError(`"${name}" is not a gRPC status`)
  return number
}

/** 14 -> "UNAVAILABLE"; of a number that gRPC does not have, the number. */
export function statusName(status: number): string {
  return names[status] ?? String(status)
}

export const unavailable = 14
export const deadlineExceeded = 4

/** True when the headers are those of a gRPC call. */
export function isGrpc(headers: Headers): boolean {
  const type = getHeader(headers, 'content-type')
  return (
    type !== undefined &&
    type.startsWith('application/grpc') &&
    // "application/grpc-web" is HTTP to us: its status is in the body.
    (type.length === 16 || type.charCodeAt(16) === 0x2b || type.charCodeAt(16) === 0x3b)
  )
}

/** grpc-status of a header or trailer list, or undefined when absent or not a number. */
export function grpcStatus(headers: Headers): number | undefined {
  const text = getHeader(headers, 'grpc-status')
  return text !== undefined && /^\d{1,2}$/.test(text) ? Number(text) : undefined
}

/** Head of a Trailers-Only answer. */
export function trailersOnly(status: number, message: string): Headers {
  return [
    'content-type',
    'application/grpc',
    'grpc-status',
    String(status),
    'grpc-message',
    encodeMessage(message),
  ]
}

/** Percent-encoding of grpc-message: everything but printable ASCII, and "%". */
export function encodeMessage(message: string): string {
  let out = ''
  for (const byte of Buffer.from(message, 'utf8')) {
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return out
}
