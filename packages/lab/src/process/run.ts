// SPDX-License-Identifier: Apache-2.0
// Runs a short command to its end.
import { spawn } from 'node:child_process'
import { LabError } from '../errors.ts'

/** Output kept of a command; the rest is dropped. */
const maxOutputBytes = 1024 * 1024

export interface RunOptions {
  input?: string
  timeoutMs?: number
}

/** Output of a command that exits with 0. Throws a LabError with its stderr otherwise. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { input, timeoutMs = 20_000 } = options
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'pipe', timeout: timeoutMs })
    const output = { out: '', err: '' }
    const keep = (which: 'out' | 'err') => (chunk: Buffer) => {
      if (output[which].length < maxOutputBytes) output[which] += chunk.toString()
    }
    child.stdout.on('data', keep('out'))
    child.stderr.on('data', keep('err'))
    child.on('error', (cause) => {
      reject(new LabError('host', `cannot run ${command}: ${cause.message}`, { cause }))
    })
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output.out)
      else {
        const how = signal === null ? `exit code ${code}` : `signal ${signal}`
        const said = (output.err || output.out).trim()
        reject(new LabError('host', `${command} ${args.join(' ')} (${how}): ${said}`))
      }
    })
    // A command that ends before it read its input is reported by its exit code.
    child.stdin.on('error', () => {})
    child.stdin.end(input ?? '')
  })
}
