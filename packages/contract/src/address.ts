// SPDX-License-Identifier: Apache-2.0
// Addresses on the wire and in the maps are always 16 bytes, network order, IPv4 mapped (RFC 4291, 2.5.5.2).
import { isIPv4, isIPv6 } from 'node:net'

const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex')

/** Text to 16 bytes. Throws a TypeError that names the text when it is no address. */
export function parseAddress(text: string): Buffer {
  if (isIPv4(text)) {
    return Buffer.concat([mappedPrefix, Buffer.from(text.split('.').map(Number))])
  }
  if (!isIPv6(text) || text.includes('%')) {
    throw new TypeError(`"${text}" is not an IPv4 or IPv6 address`)
  }
  return parseIPv6(text)
}

function parseIPv6(text: string): Buffer {
  const lastColon = text.lastIndexOf(':')
  const tail = text.slice(lastColon + 1)
  if (isIPv4(tail)) {
    const bytes = parseAddress(tail)
    const groups = [bytes.readUInt16BE(12), bytes.readUInt16BE(14)].map((g) =>
      g.toString(16),
    )
    return parseIPv6(text.slice(0, lastColon + 1) + groups.join(':'))
  }
  const [head = '', rest] = text.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = rest === undefined || rest === '' ? [] : rest.split(':')
  const groups = [
    ...left,
    ...Array<string>(8 - left.length - right.length).fill('0'),
    ...right,
  ]
  const out = Buffer.alloc(16)
  groups.forEach((group, i) => out.writeUInt16BE(Number.parseInt(group, 16), i * 2))
  return out
}

/** True for ::ffff:a.b.c.d. */
export function isMappedIPv4(address: Uint8Array): boolean {
  return mappedPrefix.equals(address.subarray(0, 12))
}

/** 16 bytes to text: dotted for mapped IPv4, otherwise the canonical form of RFC 5952. */
export function formatAddress(address: Uint8Array): string {
  if (address.length !== 16) {
    throw new TypeError(`an address has 16 bytes, got ${address.length}`)
  }
  if (isMappedIPv4(address)) return address.subarray(12).join('.')
  const view = Buffer.from(address.buffer, address.byteOffset, 16)
  const groups = Array.from({ length: 8 }, (_, i) => view.readUInt16BE(i * 2))
  const run = longestZeroRun(groups)
  const hex = groups.map((group) => group.toString(16))
  if (run.length < 2) return hex.join(':')
  return `${hex.slice(0, run.start).join(':')}::${hex.slice(run.start + run.length).join(':')}`
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  groups.forEach((group, i) => {
    if (group !== 0) start = i + 1
    else if (i + 1 - start > best.length) best = { start, length: i + 1 - start }
  })
  return best
}

/** "address:port", with brackets around IPv6. */
export function formatEndpoint(address: Uint8Array, port: number): string {
  const text = formatAddress(address)
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`
}

/** A CIDR block over 16 bytes: IPv4 lengths are 96 longer. */
export interface Prefix {
  /** Bits behind the prefix are zero. */
  readonly address: Buffer
  /** 0 to 128. */
  readonly prefixLength: number
  /** Name of its Address resource, canonical: equal blocks have equal names. */
  readonly name: string
}

/** "10.0.0.0/8" as a prefix. Throws a TypeError that names the text when it is none. */
export function parsePrefix(text: string): Prefix {
  const [, head = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? []
  const most = isIPv4(head) ? 32 : 128
  if (length === '' || Number(length) > most)
    throw new TypeError(`"${text}" is not a CIDR block, for example "10.0.0.0/8"`)
  const prefixLength = Number(length) + 128 - most
  const address = parseAddress(head)
  for (let bit = prefixLength; bit < 128; bit++) {
    address[bit >> 3] = (address[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7))
  }
  return { address, prefixLength, name: `${formatAddress(address)}/${prefixLength}` }
}

/** Whether `address` (16 bytes) is in the block. IPv6 blocks, ::/0 included, hold no IPv4 address. */
export function prefixHolds(prefix: Prefix, address: Uint8Array): boolean {
  if (isMappedIPv4(address) && prefix.prefixLength < 96) return false
  const whole = prefix.prefixLength >> 3
  const rest = 0xff00 >> (prefix.prefixLength & 7)
  return (
    prefix.address.subarray(0, whole).equals(address.subarray(0, whole)) &&
    (((prefix.address[whole] ?? 0) ^ (address[whole] ?? 0)) & rest & 0xff) === 0
  )
}
