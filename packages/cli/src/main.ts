// SPDX-License-Identifier: Apache-2.0
// `pillion`
import { CommanderError } from 'commander'
import { progressColors } from './colors.ts'
import { exitCode, exitCodeOf, explainError } from './errors.ts'
import { buildProgram } from './program.ts'

// `pillion … | head` closes our stdout: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCode.ok)
  throw error
})

try {
  await buildProgram().parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommanderError) {
    // commander has printed it; help and version are no errors.
    process.exitCode = error.exitCode === 0 ? exitCode.ok : exitCode.usage
  } else {
    process.stderr.write(`${progressColors.red('error:')} ${explainError(error)}\n`)
    process.exitCode = exitCodeOf(error)
  }
}
