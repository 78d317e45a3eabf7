// SPDX-License-Identifier: Apache-2.0
// Corpora of raw messages, one a line: `name | expected | bytes | remark`. Bytes are written with \r \n \t \\ \xHH and
// \u for a vertical bar; {12*text} is text twelve times. Lines that begin with # are for people.
import { readFileSync } from 'node:fs'

export type WireCase = {
  readonly name: string
  /** What must happen; the runner says how it reads it. */
  readonly expected: string
  readonly bytes: Buffer
  /** Expected body of the last answer; '': anything. */
  readonly body: string
}

/** Reads a corpus. Throws on a line that is not a case, and on a name that comes twice. */
export function readCases(url: URL): WireCase[] {
  const cases: WireCase[] = []
  const names = new Set<string>()
  readFileSync(url, 'utf8')
    .split('\n')
    .forEach((line, i) => {
      if (line === '' || line.startsWith('#')) return
      const [name = '', expected, bytes, body = ''] = line.split(' | ')
      if (expected === undefined || bytes === undefined || names.has(name))
        throw new Error(`${url.pathname}:${i + 1}: not a case, or its name came before`)
      names.add(name)
      cases.push({ name, expected, bytes: unescape(bytes), body })
    })
  return cases
}

const escapes: Readonly<Record<string, string>> = {
  r: '\r',
  n: '\n',
  t: '\t',
  u: '|',
  '\\': '\\',
}

function unescape(text: string): Buffer {
  const repeated = text.replaceAll(
    /\{(\d+)\*([^}]*)\}/g,
    (_, count: string, part: string) => part.repeat(Number(count)),
  )
  const plain = repeated.replaceAll(
    /\\(?:x([0-9a-f]{2})|(.))/g,
    (_, hex: string | undefined, letter: string) =>
      hex === undefined
        ? (escapes[letter] ?? letter)
        : String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(plain, 'latin1')
}
