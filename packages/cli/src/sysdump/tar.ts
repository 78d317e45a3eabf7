// SPDX-License-Identifier: Apache-2.0
// A tar archive of texts (POSIX.1-1988 ustar), gzipped. Files only, with names of ASCII.
import { gzipSync } from 'node:zlib'

const block = 512
const [nameBytes, prefixBytes] = [100, 155]

export interface Entry {
  readonly path: string
  readonly text: string
}

/** The archive as one buffer. Throws a RangeError for a path that the format cannot hold. */
export function tarGzip(entries: readonly Entry[], mtimeMs: number): Buffer {
  const parts = entries.flatMap(({ path, text }) => {
    const body = Buffer.from(text)
    const padding = Buffer.alloc((block - (body.length % block)) % block)
    return [header(path, body.length, mtimeMs), body, padding]
  })
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * block)]))
}

function header(path: string, size: number, mtimeMs: number): Buffer {
  const [prefix, name] = splitPath(path)
  const head = Buffer.alloc(block)
  const octal = (value: number, at: number, width: number): void => {
    head.write(value.toString(8).padStart(width - 1, '0'), at)
  }
  head.write(name, 0, 'latin1')
  octal(0o600, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(Math.floor(mtimeMs / 1000), 136, 12)
  // The sum is made with blanks in its own place.
  head.write(' '.repeat(8), 148)
  head.write('0', 156)
  head.write('ustar\0' + '00', 257)
  head.write(prefix, 345, 'latin1')
  const sum = head.reduce((total, byte) => total + byte, 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return head
}

function splitPath(path: string): readonly [string, string] {
  if (path.length <= nameBytes) return ['', path]
  const at = path.indexOf('/', path.length - nameBytes - 1)
  if (at === -1 || at > prefixBytes)
    throw new RangeError(`${path} is too long for an archive`)
  return [path.slice(0, at), path.slice(at + 1)]
}
