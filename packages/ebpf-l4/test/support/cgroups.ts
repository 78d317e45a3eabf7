// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'

/** Directories go once their last process is reaped. */
export async function removeCgroups(root: string): Promise<void> {
  const directories = execFileSync('find', [root, '-depth', '-type', 'd'], {
    encoding: 'utf8',
  })
  for (const directory of directories.trim().split('\n')) {
    for (let tries = 0; tries < 100; tries++) {
      if (readFileSync(join(directory, 'cgroup.procs'), 'utf8') === '') break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    rmdirSync(directory)
  }
}
