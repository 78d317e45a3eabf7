// SPDX-License-Identifier: Apache-2.0
// The command tree of `pillion`.
import { Command } from 'commander'
import { explainCommand } from './command/explain.ts'
import { flowsCommand } from './command/flows.ts'
import { labCommand } from './command/lab.ts'
import { statusCommand } from './command/status.ts'
import { versionCommand } from './command/version.ts'
import { exitCode } from './errors.ts'

/** The whole program; actions throw, main.ts turns that into a message and an exit code. */
export function buildProgram(): Command {
  const program = new Command('pillion')
    .description('a service mesh without sidecars')
    .showHelpAfterError('(pillion --help)')
    .exitOverride()
  labCommand(program)
  statusCommand(program)
  flowsCommand(program)
  explainCommand(program)
  versionCommand(program)
  program.addHelpText(
    'after',
    `\nExit codes: ${exitCode.ok} done, ${exitCode.failed} failed, ${exitCode.usage} wrong usage, ` +
      `${exitCode.notRunning} no lab runs; lab exec passes on the command's own.`,
  )
  // Subcommands inherit neither; without it a usage error in one of them would exit with 1.
  const visit = (command: Command): void => {
    command.exitOverride()
    command.commands.forEach(visit)
  }
  visit(program)
  return program
}
