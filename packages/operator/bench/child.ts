// SPDX-License-Identifier: Apache-2.0
// Processes of a simulation: they say one line when they are ready, and one for each line that they are told.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'

export interface Child {
  readonly process: ChildProcess
  readonly lines: Interface
}

export function start(script: string, args: readonly unknown[]): Child {
  const file = join(import.meta.dirname, script)
  const child = spawn(process.execPath, [file, ...args.map(String)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  return { process: child, lines: createInterface(child.stdout) }
}

/** The next line; throws when the process ends before. */
export async function line({ process: child, lines }: Child): Promise<string> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('a process of the simulation ended early')
  })
  const [text] = (await Promise.race([once(lines, 'line'), ended])) as [string]
  return text
}

/** Tells a process one line and returns its answer. */
export async function ask(child: Child, text: string): Promise<string> {
  child.process.stdin?.write(`${text}\n`)
  return line(child)
}
