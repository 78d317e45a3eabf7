// SPDX-License-Identifier: Apache-2.0
// Raw inputs of other projects' fuzzers: all files below PILLION_CORPORA, or the part of them that is in test/data.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

const subset = new URL(
  '../../../../test/data/raw-corpora-subset.json.gz',
  import.meta.url,
)

/** Inputs without empty ones, and how often each is to be thrown. Throws when the directory cannot be read. */
export function readCorpora(): { inputs: Buffer[]; rounds: number } {
  const directory = process.env['PILLION_CORPORA'] ?? ''
  const rounds = Number(process.env['PILLION_CORPORA_ROUNDS'] ?? 1)
  if (directory === '') {
    const files = JSON.parse(gunzipSync(readFileSync(subset)).toString()) as Record<
      string,
      string
    >
    const inputs = Object.values(files).map((text) => Buffer.from(text, 'base64'))
    return { inputs, rounds }
  }
  const inputs = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
    .filter(({ length }) => length > 0)
  return { inputs, rounds }
}
