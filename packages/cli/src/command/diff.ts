// SPDX-License-Identifier: Apache-2.0
// pillion diff NODE: what is wanted in the kernel's maps against what is in them.
import type { Command } from 'commander'
import { clusterOptions, namespaceOption } from '../cluster/connect.ts'
import { exitCode } from '../errors.ts'
import { formatOption, mark, print, printJson, table, type Format } from '../output.ts'
import { withTarget, type TargetFlags } from '../target.ts'
import { checkNode } from './config.ts'
import { examples } from './options.ts'

/** One entry of the agent's GET /debug/diff. */
export interface Difference {
  readonly map: string
  readonly problem: 'missing' | 'extra' | 'different'
  readonly key: unknown
  readonly want?: unknown
  readonly have?: unknown
}

interface Flags extends TargetFlags {
  readonly output: Format
}

export function diffCommand(program: Command): void {
  const command = program
    .command('diff')
    .argument('<node>', 'name of the node')
    .description('differences between the wanted and the actual maps; exit code 1 if any')
    .action((node: string, flags: Flags) =>
      withTarget(flags, async (target) => {
        await checkNode(target, node)
        const found = await target.agent<Difference[]>(node, '/debug/diff')
        if (found.length > 0) process.exitCode = exitCode.failed
        if (flags.output === 'json') printJson({ node, differences: found })
        else if (found.length === 0)
          print(mark(`node ${node}: the maps are as they should be`, true))
        else print(table(['MAP', 'PROBLEM', 'KEY', 'WANTED', 'ACTUAL'], found.map(row)))
      }),
    )
  formatOption(namespaceOption(clusterOptions(command)))
  examples(command, 'pillion diff node-1')
}

/** A value in a cell. */
function row({ map, problem, key, want, have }: Difference): string[] {
  const text = (value: unknown): string =>
    value === undefined ? '-' : JSON.stringify(value).replaceAll('"', '')
  return [map, mark(problem, false), text(key), text(want), text(have)]
}
