// SPDX-License-Identifier: Apache-2.0
// Runs bin/pillion as a person does.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type t from 'tap'
import { checkout } from '../../src/paths.ts'
import { remains } from '../../src/teardown.ts'

type Tap = typeof t

/**
 * Ends the test file unless it may use the machine: without root it is skipped; with somebody else's lab it fails, and
 * does not touch that lab. Call it before anything that takes a lab down.
 */
export function claimMachine(t: Tap): void {
  if (process.getuid?.() !== 0) {
    t.plan(0, 'needs root')
    process.exit(0)
  }
  const present = remains()
  if (present.length === 0) return
  t.bailout(`a lab is there (${present[0]}); end it first: pillion lab down`)
}

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
