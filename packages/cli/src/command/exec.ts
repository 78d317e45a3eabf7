// SPDX-License-Identifier: Apache-2.0
// Runs a command in a pod. The command is a child of the caller, not of the supervisor: it has the caller's terminal,
// and its exit code.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { launchArgv, type Launch } from '@pillion/lab'
import { lab } from '../client.ts'

/** Exit code of the command; 128 + n when signal n ended it. */
export async function execIn(
  target: string,
  namespace: string,
  argv: readonly string[],
): Promise<number> {
  const query = new URLSearchParams({ target, namespace })
  const launch = await lab<Launch>('GET', `/launch?${query.toString()}`)
  const term = process.env['TERM']
  const env = { ...launch.env, ...(term === undefined ? {} : { TERM: term }) }
  const { command, args } = launchArgv({ ...launch, env, argv })
  const child = spawn(command, args, { stdio: 'inherit', env })
  // The terminal sends Ctrl-C to both; the child decides what it means. Signals to this process alone are passed on.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  process.on('SIGHUP', () => child.kill('SIGHUP'))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal])
    })
  })
}
