// SPDX-License-Identifier: Apache-2.0
// pillion completion SHELL
import { Argument, type Command } from 'commander'
import { completionScript, shells, type Shell } from '../completion.ts'
import { examples } from './options.ts'

export function completionCommand(program: Command): void {
  const command = program
    .command('completion')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
    .description('a script that completes commands and options, for the shell to read')
    .action((shell: Shell) => {
      process.stdout.write(completionScript(program, shell))
    })
  examples(
    command,
    'source <(pillion completion bash)',
    'pillion completion fish > ~/.config/fish/completions/pillion.fish',
  )
}
