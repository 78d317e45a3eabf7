// SPDX-License-Identifier: Apache-2.0
// Runs bin/pillion as a person does.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkout } from '../../src/paths.ts'

export interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Output and exit code; never throws for the latter. */
export function pillion(...args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(checkout, 'bin/pillion'), args, {
      stdio: 'pipe',
      timeout: 90_000,
    })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, err }))
  })
}

/** The first value that `probe` returns and that is not undefined; throws after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const value = await probe()
    if (value !== undefined) return value
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await sleep(50)
  }
}
