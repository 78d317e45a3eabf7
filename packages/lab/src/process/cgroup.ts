// SPDX-License-Identifier: Apache-2.0
// Cgroup directories: make, kill, remove. cgroup.kill ends a whole tree at once, forks included, with no race against
// new children and no search for process ids.
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf, LabError } from '../errors.ts'

export function makeCgroup(dir: string): void {
  mkdirSync(dir, { recursive: true })
}

/** SIGKILL to every process below `dir`. Does nothing when it does not exist. */
export function killCgroup(dir: string): void {
  try {
    writeFileSync(join(dir, 'cgroup.kill'), '1')
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}

/** Whether any process is left in the tree. */
export function isPopulated(dir: string): boolean {
  try {
    return readFileSync(join(dir, 'cgroup.events'), 'utf8').includes('populated 1')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return false
    throw error
  }
}

/** Kills what runs below `dir` and removes the tree. Throws a LabError when processes do not end within `timeoutMs`. */
export async function removeCgroup(dir: string, timeoutMs = 5000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  killCgroup(dir)
  while (isPopulated(dir)) {
    if (Date.now() > deadline) {
      throw new LabError('host', `processes in ${dir} do not end (uninterruptible?)`)
    }
    await sleep(5)
  }
  // A dying process may hold the directory for a moment after it left "populated".
  for (;;) {
    try {
      removeTree(dir)
      return
    } catch (error) {
      if (errnoOf(error) !== 'EBUSY' || Date.now() > deadline) throw error
      await sleep(10)
    }
  }
}

function removeTree(dir: string): void {
  try {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(join(dir, entry.name))
    }
    rmdirSync(dir)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}
