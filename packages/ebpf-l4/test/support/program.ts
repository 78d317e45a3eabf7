// SPDX-License-Identifier: Apache-2.0
// Small C programs beside this file, for what node cannot ask of a socket.
import { execFileSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'

/** Compiles support/NAME.c into a directory of the test. Returns the program's path; throws with the compiler's words. */
export function compile(name: string, directory: string): string {
  const program = join(directory, name)
  const source = join(import.meta.dirname, `${name}.c`)
  execFileSync('cc', [
    '-O1',
    '-pthread',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    program,
    source,
  ])
  return program
}

/** What a process prints next, or how it ended. What it printed before anybody asked is lost. */
export function nextLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.stdout?.once('data', (data) => resolve(String(data).trim()))
    child.once('close', (code, signal) => resolve(`ended: ${code ?? signal}`))
  })
}
