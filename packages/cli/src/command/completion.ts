// SPDX-License-Identifier: Apache-2.0
// pillion completion SHELL
import { Argument, type Command } from 'commander'
import { completionScript, shells, type Shell } from '../completion.ts'

export function completionCommand(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
    .description(
      'a script that completes commands and options: source <(pillion completion bash)',
    )
    .action((shell: Shell) => {
      process.stdout.write(completionScript(program, shell))
    })
}
