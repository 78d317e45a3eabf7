// SPDX-License-Identifier: Apache-2.0
// pillion version
import { contractVersion, softwareVersion } from '@pillion/contract'
import type { Command } from 'commander'
import { print, printJson } from '../output.ts'

export function versionCommand(program: Command): void {
  program
    .command('version')
    .option('-o, --output <format>', 'table or json', 'table')
    .description('versions of this command')
    .action(({ output }: { output: string }) => {
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
}
