// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'

/** Polls until `probe` is true. Throws after the deadline, naming what was waited for. */
export async function until(
  probe: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = 10_000,
): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!(await probe())) {
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms for: ${what}`)
    await sleep(10)
  }
}
