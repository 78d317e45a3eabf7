// SPDX-License-Identifier: Apache-2.0
// pillion uninstall: the Mesh first, until the operator has cleaned every node; then the rest.
import type { Command } from 'commander'
import {
  clusterOptions,
  withCluster,
  type ClusterFlags,
  type Installation,
} from '../cluster/connect.ts'
import {
  describeObject,
  getPath,
  Objects,
  until,
  type Manifest,
} from '../cluster/objects.ts'
import { installedPods } from '../cluster/pods.ts'
import { exitCode } from '../errors.ts'
import { planOf } from '../install/apply.ts'
import { conditionsOf, meshObject, meshPath } from '../install/rollout.ts'
import {
  prepareVerifier,
  proveNode,
  type Proof,
  type Verifier,
} from '../install/verify.ts'
import {
  formatOption,
  mark,
  print,
  printJson,
  Steps,
  table,
  type Format,
} from '../output.ts'
import { namespaceOf } from './install.ts'
import { examples, manifestsOption, seconds } from './options.ts'

interface Flags extends ClusterFlags {
  readonly manifests: string
  readonly verify?: boolean
  readonly keepCrds?: boolean
  readonly timeout: number
  readonly output: Format
}

export function uninstallCommand(program: Command): void {
  const command = clusterOptions(program.command('uninstall'))
    .addOption(manifestsOption('what was installed'))
    .option('--verify', 'prove for every node that nothing is left on it')
    .option(
      '--keep-crds',
      'keep the definitions, and with them every L7Service and so on',
    )
    .option('--timeout <seconds>', 'how long the nodes have to be cleaned', seconds, 600)
    .description('takes the mesh off every node, then out of the cluster')
    .action((flags: Flags) =>
      withCluster(flags, async (cluster) => {
        const objects = planOf(flags.manifests, undefined)
        const installation = { cluster, namespace: namespaceOf(objects) }
        await run(installation, objects.objects, flags)
      }),
    )
  formatOption(command)
  examples(command, 'pillion uninstall --verify')
}

async function run(
  installation: Installation,
  manifests: readonly Manifest[],
  flags: Flags,
): Promise<void> {
  const { verify = false, keepCrds = false, timeout, output } = flags
  const steps = new Steps()
  const timeoutMs = timeout * 1000
  let proofs: Proof[] = []
  let removed: string[] = []
  try {
    const verifier = verify ? await verifierOf(installation) : undefined
    await removeMesh(installation, steps, timeoutMs)
    if (verifier !== undefined)
      proofs = await prove(installation, verifier, steps, timeoutMs)
    const rest = manifests.filter(
      ({ kind }) => !(keepCrds && kind === 'CustomResourceDefinition'),
    )
    removed = await removeRest(installation, rest, steps, timeoutMs)
    steps.done()
  } catch (error) {
    steps.fail()
    throw error
  }
  // No proof at all is no proof of being clean.
  const clean = proofs.length > 0 && proofs.every((proof) => proof.clean)
  if (verify && !clean) process.exitCode = exitCode.failed
  if (output === 'json') {
    printJson({ removed, ...(verify ? { clean, nodes: proofs } : {}) })
    return
  }
  const count = removed.length
  print(count === 0 ? 'nothing was installed' : `removed ${count} objects`)
  if (!verify) return
  if (proofs.length === 0) print(mark(unproved, false))
  else
    print(
      table(
        ['NODE', 'CLEAN', 'DETAIL'],
        proofs.map((each) => [
          each.node,
          mark(each.clean ? '✓' : '✗', each.clean),
          each.detail,
        ]),
      ),
    )
}

async function verifierOf(installation: Installation): Promise<Verifier | undefined> {
  const { node } = await installedPods(installation)
  return prepareVerifier(installation, node)
}

/** Deletes the Mesh and waits until its finalizer is gone: then every node is clean, as the operator saw it. */
async function removeMesh(
  installation: Installation,
  steps: Steps,
  timeoutMs: number,
): Promise<void> {
  const { cluster } = installation
  const objects = new Objects(cluster)
  const step = 'Mesh default'
  steps.at(step, 'deleting')
  if (!(await objects.remove(meshObject))) return
  let text = 'the operator has not looked at it yet'
  await until(
    timeoutMs,
    async () => {
      const mesh = await getPath(cluster, meshPath)
      if (mesh === undefined) return true
      const installed = conditionsOf(mesh).find(({ type }) => type === 'Installed')
      if (installed?.reason.startsWith('Uninstall')) text = installed.message
      steps.at(step, text)
      return undefined
    },
    () =>
      `the Mesh still has its finalizer: ${text}. The operator must run until the nodes are clean; ` +
      'nothing else has been removed',
  )
}

const unproved =
  'no node has a pod of the mesh any more, so there is none to take the agent from: nothing is proved'

/** Nodes at a time that are verified. */
const atOnce = 16

async function prove(
  installation: Installation,
  verifier: Verifier,
  steps: Steps,
  timeoutMs: number,
): Promise<Proof[]> {
  const proofs: Proof[] = []
  const queue = [...verifier.nodes]
  const total = queue.length
  const work = async (): Promise<void> => {
    for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
      proofs.push(await proveNode(installation, verifier, node, timeoutMs))
      steps.at('verify', `${proofs.length} of ${total} nodes`)
    }
  }
  steps.at('verify', `0 of ${total} nodes`)
  await Promise.all(Array.from({ length: Math.min(atOnce, total) }, work))
  return proofs.sort((a, b) => a.node.localeCompare(b.node))
}

/** In the reverse order of making; waits until the last is gone. A namespace that is terminating is the cluster's now. */
async function removeRest(
  { cluster }: Installation,
  manifests: readonly Manifest[],
  steps: Steps,
  timeoutMs: number,
): Promise<string[]> {
  const objects = new Objects(cluster)
  const removed: Manifest[] = []
  for (const each of manifests.toReversed()) {
    steps.at('remove', describeObject(each))
    if (await objects.remove(each)) removed.push(each)
  }
  let left: string[] = []
  await until(
    timeoutMs,
    async () => {
      const found = await Promise.all(
        removed
          .filter(({ kind }) => kind !== 'Namespace')
          .map(async (each) => ((await objects.get(each)) ? [describeObject(each)] : [])),
      )
      left = found.flat()
      return left.length === 0 ? true : undefined
    },
    () => `still there: ${left.join(', ')}`,
  )
  return removed.map(describeObject)
}
