// SPDX-License-Identifier: Apache-2.0
// pillion wait KIND/NAME: until a condition of an object of ours or of a route holds, for the object as it is now.
import type { ObjectStatus } from '@pillion/operator'
import type { Command } from 'commander'
import { clusterOptions, withCluster } from '../cluster/connect.ts'
import { Objects, until, type Manifest } from '../cluster/objects.ts'
import {
  lacking,
  verdictsIn,
  verdictsOf,
  type Condition,
  type Verdict,
} from '../conditions.ts'
import { CliError } from '../errors.ts'
import { kindOf } from '../kinds.ts'
import { formatOption, mark, print, printJson, Steps, type Format } from '../output.ts'
import { usesLab, withTarget, type TargetFlags } from '../target.ts'
import { examples, seconds } from './options.ts'

interface Flags extends TargetFlags {
  readonly for: string
  readonly timeout: number
  readonly output: Format
}

const mesh = 'mesh.pillion.dev/v1alpha1'
const gateway = 'gateway.networking.k8s.io/v1'
const apiVersions: Readonly<Record<string, string>> = {
  Mesh: mesh,
  L7Service: mesh,
  AccessPolicy: mesh,
  HTTPRoute: gateway,
  GRPCRoute: gateway,
}
export function waitCommand(program: Command): void {
  const command = program
    .command('wait')
    .argument(
      '<object>',
      'KIND/NAME: httproute, grpcroute, l7service, accesspolicy, mesh',
    )
    .option('-n, --namespace <name>', 'namespace of the object', 'default')
    .option('--for <condition>', 'type of the condition', 'Programmed')
    .option('--timeout <seconds>', 'how long to wait', seconds, 60)
    .description('until a condition of an object holds, for its present generation')
    .action(wait)
  formatOption(clusterOptions(command))
  examples(
    command,
    'pillion wait httproute/web -n shop',
    'pillion wait mesh/default --for Installed',
  )
}

async function wait(object: string, flags: Flags): Promise<void> {
  const [written = '', name = ''] = object.split('/')
  const kind = kindOf(written)
  const apiVersion = apiVersions[kind]
  if (name === '' || apiVersion === undefined)
    throw new CliError(
      'usage',
      `"${object}": write KIND/NAME, where KIND is one of ${Object.keys(apiVersions).join(', ')}`,
    )
  const namespaced = kind === 'Mesh' ? {} : { namespace: flags.namespace }
  const manifest: Manifest = { apiVersion, kind, metadata: { name, ...namespaced } }
  const found = usesLab(flags)
    ? await withTarget(flags, (target) =>
        poll(manifest, flags, async () => {
          const { objects = [] } = await target.operator<{ objects?: ObjectStatus[] }>(
            '/debug/status',
          )
          return labVerdicts(objects, manifest)
        }),
      )
    : await withCluster(flags, async (cluster) => {
        const objects = new Objects(cluster)
        return poll(manifest, flags, async () => {
          const got = await objects.get(manifest)
          return got === undefined ? undefined : verdictsOf(got)
        })
      })
  if (flags.output === 'json') printJson({ object, conditions: found })
  else
    print(
      `${kind} ${name}: ${mark(flags.for, true)} (${found.map(({ message }) => message).join('; ')})`,
    )
}

/** Looks until all conditions of the type hold. Throws a CliError `timeout` with the last that was said. */
async function poll(
  { kind, metadata }: Manifest,
  flags: Flags,
  look: () => Promise<readonly Verdict[] | undefined>,
): Promise<readonly Condition[]> {
  const steps = new Steps()
  const what = `${kind} ${metadata.name}`
  let text = `${what} does not exist`
  try {
    const found = await until(
      flags.timeout * 1000,
      async () => {
        const verdicts = await look()
        if (verdicts === undefined) return undefined
        text = lacking(verdicts, flags.for)
        steps.at(what, text)
        return text === ''
          ? verdicts.flat().filter(({ type }) => type === flags.for)
          : undefined
      },
      () => `${what}: ${text}`,
    )
    steps.done()
    return found
  } catch (error) {
    steps.fail()
    throw error
  }
}

/** The same from the operator of the lab. */
function labVerdicts(
  objects: readonly ObjectStatus[],
  { kind, metadata }: Manifest,
): readonly Verdict[] | undefined {
  const found = objects.find(
    (each) =>
      each.kind === kind &&
      each.name === metadata.name &&
      each.namespace === (metadata.namespace ?? ''),
  )
  return found && verdictsIn(found)
}
