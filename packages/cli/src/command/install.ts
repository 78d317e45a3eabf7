// SPDX-License-Identifier: Apache-2.0
// pillion install, pillion upgrade: manifests/default and a Mesh into a cluster, and waiting until every node has it.
import type { Command } from 'commander'
import {
  clusterOptions,
  defaultNamespace,
  withCluster,
  type ClusterFlags,
  type Installation,
} from '../cluster/connect.ts'
import { getPath } from '../cluster/objects.ts'
import { CliError } from '../errors.ts'
import { applyPlan, planOf, type Applied, type Plan } from '../install/apply.ts'
import { meshPath, rolledOut } from '../install/rollout.ts'
import { formatOption, print, printJson, Steps, table, type Format } from '../output.ts'
import { examples, manifestsOption, seconds } from './options.ts'

interface Flags extends ClusterFlags {
  readonly filename?: string
  readonly manifests: string
  readonly dryRun?: boolean
  readonly wait: boolean
  readonly timeout: number
  readonly output: Format
}

export function installCommand(program: Command): void {
  const install = options(program.command('install'))
  install
    .description('installs the mesh in a cluster: definitions, operator, a Mesh')
    .action((flags: Flags) => withCluster(flags, (cluster) => run(cluster, flags)))
  examples(
    install,
    'pillion install -f mesh.yaml --dry-run',
    'pillion install -f mesh.yaml',
  )
  const upgrade = options(program.command('upgrade'))
  upgrade
    .description('brings an installation to the version of this command, node by node')
    .action((flags: Flags) =>
      withCluster(flags, async (cluster) => {
        if ((await getPath(cluster, meshPath)) === undefined)
          throw new CliError(
            'not-installed',
            `context ${cluster.context} has no Mesh to upgrade; use pillion install`,
          )
        await run(cluster, flags)
      }),
    )
  examples(upgrade, 'pillion upgrade -f mesh.yaml')
}

function options(command: Command): Command {
  clusterOptions(command)
    .option('-f, --filename <file>', 'file or folder with the Mesh; default: a bare one')
    .addOption(manifestsOption('what is installed'))
    .option('--dry-run', 'ask the API server what would change, and change nothing')
    .option('--no-wait', 'return when everything is applied')
    .option('--timeout <seconds>', 'how long to wait for the nodes', seconds, 600)
  return formatOption(command)
}

async function run(cluster: Installation['cluster'], flags: Flags): Promise<void> {
  const { filename, manifests, dryRun = false, wait, timeout, output } = flags
  const plan = planOf(manifests, filename)
  const steps = new Steps()
  const timeoutMs = timeout * 1000
  let applied: Applied[]
  try {
    applied = await applyPlan(cluster, plan, { dryRun, steps, timeoutMs })
    if (!dryRun && wait) {
      const installation = { cluster, namespace: namespaceOf(plan) }
      await rolledOut(installation, deploymentsOf(plan), steps, timeoutMs)
    }
    steps.done()
  } catch (error) {
    steps.fail()
    throw error
  }
  if (output === 'json') {
    printJson({ context: cluster.context, dryRun, objects: applied })
    return
  }
  print(
    table(
      [dryRun ? 'WOULD BE' : 'CHANGE', 'OBJECT', ''],
      applied.map(({ change, object, note = '' }) => [change, object, note]),
    ),
  )
}

const deploymentsOf = (plan: Plan) =>
  plan.objects.filter(({ kind }) => kind === 'Deployment')

/** Where the operator of these manifests runs. */
export function namespaceOf(plan: Plan): string {
  return deploymentsOf(plan)[0]?.metadata.namespace ?? defaultNamespace
}
