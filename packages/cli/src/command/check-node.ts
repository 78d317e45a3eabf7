// SPDX-License-Identifier: Apache-2.0
// pillion check node: what nodes have of what the mesh needs, asked of their agents or of this machine.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { Finding } from '../check.ts'
import { clusterOptions, namespaceOption } from '../cluster/connect.ts'
import { CliError, exitCode } from '../errors.ts'
import { formatOption, print, printJson, type Format } from '../output.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'
import { findingsTable } from './findings.ts'
import { examples } from './options.ts'

/** What an agent answers at /debug/preflight, and prints with --preflight=json. */
interface Preflight {
  readonly kernel: string
  readonly fit: boolean
  readonly lines: readonly Finding[]
}

interface Flags extends TargetFlags {
  readonly here?: boolean
  readonly cgroupRoot?: string
  readonly pinDir?: string
  readonly output: Format
}

const agentMain = join(import.meta.dirname, '../../../node-agent/src/main.ts')

export function checkNodeCommand(check: Command): void {
  const command = check
    .command('node [names...]')
    .option('--here', 'ask this machine, whether or not an agent runs on it; needs root')
    .option('--cgroup-root <dir>', 'with --here: cgroup of all pods; default the root')
    .option('--pin-dir <dir>', 'with --here: where the agent keeps its pins')
    .description('whether nodes are fit for the mesh: kernel, programs, hooks, rights')
    // `check` has the same options, and takes what comes after `node`, too.
    .action((names: string[], _: unknown, self: Command) =>
      run(names, self.optsWithGlobals<Flags>()),
    )
  formatOption(namespaceOption(clusterOptions(command)))
  examples(command, 'pillion check node --here', 'pillion check node node-1 -o json')
}

async function run(names: readonly string[], flags: Flags): Promise<void> {
  const answers =
    flags.here === true
      ? { 'this machine': here(flags) }
      : await withTarget(flags, (target) => askAgents(target, names))
  const nodes = Object.entries(answers)
  if (!nodes.every(([, { fit }]) => fit)) process.exitCode = exitCode.failed
  if (flags.output === 'json') {
    printJson(nodes.map(([node, answer]) => ({ node, ...answer })))
    return
  }
  print(nodes.map(([node, answer]) => describe(node, answer, nodes.length)).join('\n\n'))
}

async function askAgents(
  target: Target,
  names: readonly string[],
): Promise<Record<string, Preflight>> {
  const known = await target.nodes()
  const unknown = names.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    const message = `no node ${unknown.join(', ')} in ${target.name}; there are ${known.join(', ')}`
    throw new CliError('usage', message)
  }
  const answers: Record<string, Preflight> = {}
  for (const name of names.length > 0 ? names : known) {
    answers[name] = await target.agent<Preflight>(name, '/debug/preflight')
  }
  return answers
}

/** Asks the agent's program, which needs no agent that runs. */
function here({ cgroupRoot, pinDir }: Flags): Preflight {
  const { stdout, stderr, error } = spawnSync(
    process.execPath,
    [
      ...[agentMain, '--preflight=json'],
      ...(cgroupRoot === undefined ? [] : [`--cgroup-root=${cgroupRoot}`]),
      ...(pinDir === undefined ? [] : [`--pin-dir=${pinDir}`]),
    ],
    { encoding: 'utf8' },
  )
  // The exit code says whether the machine is fit, which the answer says as well.
  if (stdout !== '') return JSON.parse(stdout) as Preflight
  throw new CliError(
    'failed',
    `this machine cannot be asked: ${error?.message ?? stderr}`,
  )
}

/** Of one node all lines, of many what fails. */
function describe(
  node: string,
  { kernel, fit, lines }: Preflight,
  nodes: number,
): string {
  const shown = nodes === 1 ? lines : lines.filter(({ ok }) => !ok)
  const verdict = fit ? 'the mesh runs there' : 'the mesh does not run there'
  return [
    ...(shown.length > 0 ? [findingsTable(shown)] : []),
    `${node}, kernel ${kernel}: ${verdict}`,
  ].join('\n')
}
