// SPDX-License-Identifier: Apache-2.0
// pillion version
import { contractVersion, softwareVersion } from '@pillion/contract'
import type { Command } from 'commander'
import { formatOption, print, printJson, type Format } from '../output.ts'
import { examples } from './options.ts'

export function versionCommand(program: Command): void {
  const command = program
    .command('version')
    .description('versions of this command')
    .action(({ output }: { output: Format }) => {
      const versions = {
        version: softwareVersion,
        contract: contractVersion,
        node: process.version,
      }
      if (output === 'json') printJson(versions)
      else
        print(
          `pillion ${softwareVersion} (contract ${contractVersion}, Node.js ${process.version})`,
        )
    })
  formatOption(command)
  examples(command, 'pillion version -o json')
}
