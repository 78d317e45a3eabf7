// SPDX-License-Identifier: Apache-2.0
// PURE. The ends of a connection as people write them.
import { parseAddress } from '@pillion/contract'
import { AgentError } from './errors.ts'

/** True when the first `bits` of both are the same. */
export function hasPrefix(address: Buffer, prefix: Buffer, bits: number): boolean {
  for (let i = 0; i < 16; i++) {
    const left = bits - i * 8
    if (left <= 0) return true
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff
    if (((address[i] ?? 0) & mask) !== ((prefix[i] ?? 0) & mask)) return false
  }
  return true
}

/** "host:port" with the port apart: names, IPv4, [IPv6] or bare IPv6. Throws AgentError QUESTION. */
export function splitPort(text: string): { host: string; port: number | undefined } {
  if (tryParse(text) !== undefined) return { host: text, port: undefined }
  const [, bracketed, plain, digits] =
    /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = digits === undefined ? undefined : Number(digits)
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) {
    throw new AgentError('QUESTION', `"${text}" is no destination: NAME:PORT wanted`)
  }
  return { host, port }
}

/** 16 bytes, or undefined when the text is no address. */
export function tryParse(text: string): Buffer | undefined {
  try {
    return parseAddress(text)
  } catch {
    return undefined
  }
}

/** 16 bytes. Throws AgentError QUESTION; `what` says what was wanted. */
export function parsed(text: string, what: string): Buffer {
  const address = tryParse(text)
  if (address === undefined) throw new AgentError('QUESTION', `"${text}" is no ${what}`)
  return address
}
