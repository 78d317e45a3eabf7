// SPDX-License-Identifier: Apache-2.0
// Log files of bounded size. Writers hold an O_APPEND descriptor of their own, so a full file is copied to ".1" and
// truncated in place (what logrotate calls copytruncate): lines written between the two steps are lost, no process is
// disturbed.
import {
  copyFileSync,
  openSync,
  readSync,
  readdirSync,
  closeSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'

/** A file larger than this is rotated; one older generation is kept. */
export const maxLogBytes = 10 * 1024 * 1024

/** Rotates every file of `dir` that grew too large. */
export function rotateLogs(dir: string, maxBytes: number = maxLogBytes): void {
  for (const name of readdirSync(dir)) {
    if (!name.endsWith('.log')) continue
    const file = join(dir, name)
    if (statSync(file).size <= maxBytes) continue
    copyFileSync(file, `${file}.1`)
    truncateSync(file)
  }
}

/** The last lines of a file, for error messages; empty when there is none. */
export function tail(file: string, lines: number): string[] {
  const window = 16 * 1024
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch {
    return []
  }
  try {
    const size = statSync(file).size
    const buffer = Buffer.alloc(Math.min(window, size))
    readSync(fd, buffer, 0, buffer.length, size - buffer.length)
    return buffer
      .toString()
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '')
      .slice(-lines)
  } finally {
    closeSync(fd)
  }
}
