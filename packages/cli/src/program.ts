// SPDX-License-Identifier: Apache-2.0
// The command tree of `pillion`.
import { Command } from 'commander'
import { checkCommand } from './command/check.ts'
import { completionCommand } from './command/completion.ts'
import { configCommand } from './command/config.ts'
import { diffCommand } from './command/diff.ts'
import { explainCommand } from './command/explain.ts'
import { flowsCommand } from './command/flows.ts'
import { installCommand } from './command/install.ts'
import { labCommand } from './command/lab.ts'
import { policyCommand } from './command/policy.ts'
import { statusCommand } from './command/status.ts'
import { sysdumpCommand } from './command/sysdump.ts'
import { uninstallCommand } from './command/uninstall.ts'
import { versionCommand } from './command/version.ts'
import { waitCommand } from './command/wait.ts'
import { exitCode } from './errors.ts'

/** The whole program; actions throw, main.ts turns that into a message and an exit code. */
export function buildProgram(): Command {
  const program = new Command('pillion')
    .description('a service mesh without sidecars')
    .showHelpAfterError('(pillion --help)')
    .exitOverride()
  checkCommand(program)
  installCommand(program)
  uninstallCommand(program)
  statusCommand(program)
  waitCommand(program)
  configCommand(program)
  diffCommand(program)
  flowsCommand(program)
  explainCommand(program)
  policyCommand(program)
  sysdumpCommand(program)
  labCommand(program)
  completionCommand(program)
  versionCommand(program)
  program.addHelpText(
    'after',
    `\nExit codes: ${exitCode.ok} done, ${exitCode.failed} failed or the answer is no, ${exitCode.usage} wrong usage, ` +
      `${exitCode.notRunning} nothing to ask, ${exitCode.timeout} not in time; lab exec passes on the command's own.`,
  )
  // Subcommands inherit neither; without it a usage error in one of them would exit with 1.
  const visit = (command: Command): void => {
    command.exitOverride()
    command.commands.forEach(visit)
  }
  visit(program)
  return program
}
