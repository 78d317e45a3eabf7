// SPDX-License-Identifier: Apache-2.0
// Waiting for what has been applied: definitions served, operator available, Mesh installed on every node.
import type { Installation } from '../cluster/connect.ts'
import {
  collection,
  describeObject,
  getPath,
  Objects,
  until,
  type ApiObject,
  type Manifest,
} from '../cluster/objects.ts'
import { installedPods, troublesOf } from '../cluster/pods.ts'
import { CliError } from '../errors.ts'
import type { Steps } from '../output.ts'

export const meshKind = { apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'Mesh' } as const
/** There is one, and it has this name. */
export const meshObject: Manifest = { ...meshKind, metadata: { name: 'default' } }
export const meshPath = collection(meshKind.apiVersion, 'meshes') + '/default'

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration?: number
}

export function conditionsOf(object: ApiObject): readonly Condition[] {
  return (object.status?.['conditions'] ?? []) as readonly Condition[]
}

/** A condition that speaks of the object as it is now. */
export function currentCondition(object: ApiObject, type: string): Condition | undefined {
  const { generation = 0 } = object.metadata
  return conditionsOf(object).find(
    (each) => each.type === type && (each.observedGeneration ?? 0) >= generation,
  )
}

/** How the installation of a Mesh stands, in words; `failed` when waiting does not help. Pure. */
export function meshProgress(mesh: ApiObject): {
  readonly state: 'done' | 'waiting' | 'failed'
  readonly text: string
} {
  const accepted = currentCondition(mesh, 'Accepted')
  if (accepted?.status === 'False')
    return { state: 'failed', text: `Mesh default is refused: ${accepted.message}` }
  const installed = currentCondition(mesh, 'Installed')
  if (installed === undefined)
    return { state: 'waiting', text: 'the operator has not looked at the Mesh yet' }
  if (installed.status === 'True') return { state: 'done', text: installed.message }
  const state = installed.reason === 'Halted' ? 'failed' : 'waiting'
  return { state, text: `${installed.reason}: ${installed.message}` }
}

/** Waits until a definition of the manifests is served. */
export async function definitionsServed(
  objects: Objects,
  crds: readonly Manifest[],
  timeoutMs: number,
): Promise<void> {
  let missing: string[] = []
  await until(
    timeoutMs,
    async () => {
      missing = []
      for (const crd of crds) {
        const found = await objects.get(crd)
        const established = found && conditionsOf(found).find(isEstablished)
        if (established === undefined) missing.push(crd.metadata.name)
      }
      return missing.length === 0 ? true : undefined
    },
    () => `not served: ${missing.join(', ')}`,
  )
  objects.forget()
}

const isEstablished = ({ type, status }: Condition): boolean =>
  type === 'Established' && status === 'True'

/** Waits for every Deployment of the manifests, then for the Mesh. Throws a CliError with what is in the way. */
export async function rolledOut(
  installation: Installation,
  deployments: readonly Manifest[],
  steps: Steps,
  timeoutMs: number,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  const left = (): number => Math.max(0, deadline - Date.now())
  const objects = new Objects(installation.cluster)
  let text = ''
  for (const deployment of deployments) {
    const name = describeObject(deployment)
    steps.at(name, 'waiting')
    await withTroubles(installation, () =>
      until(
        left(),
        async () => {
          text = deploymentProgress(await objects.get(deployment))
          if (text !== '') steps.at(name, text)
          return text === '' ? true : undefined
        },
        () => `${name}: ${text}`,
      ),
    )
  }
  steps.at('nodes', 'waiting')
  await withTroubles(installation, () =>
    until(
      left(),
      async () => {
        const mesh = await getPath(installation.cluster, meshPath)
        if (mesh === undefined) throw new CliError('failed', 'the Mesh has been deleted')
        const progress = meshProgress(mesh)
        if (progress.state === 'failed') throw new CliError('failed', progress.text)
        ;({ text } = progress)
        steps.at('nodes', text)
        return progress.state === 'done' ? true : undefined
      },
      () => text,
    ),
  )
}

/** What a Deployment lacks; empty when all its replicas are up to date and available. Pure. */
export function deploymentProgress(deployment: ApiObject | undefined): string {
  if (deployment === undefined) return 'it does not exist'
  const { generation = 0 } = deployment.metadata
  const wanted = (deployment.spec?.['replicas'] ?? 1) as number
  const status = (deployment.status ?? {}) as Partial<Record<string, number>>
  const seen = status['observedGeneration'] ?? 0
  if (seen < generation) return 'no controller has looked at it yet'
  const updated = status['updatedReplicas'] ?? 0
  const available = status['availableReplicas'] ?? 0
  const replicas = status['replicas'] ?? 0
  if (updated < wanted || available < wanted || replicas > updated)
    return `${Math.min(updated, available)} of ${wanted} replicas available`
  return ''
}

/** Adds what the pods say to an error of waiting. */
async function withTroubles<T>(
  installation: Installation,
  wait: () => Promise<T>,
): Promise<T> {
  try {
    return await wait()
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    const { operator, node } = await installedPods(installation)
    const troubles = [...operator, ...node].flatMap(troublesOf).slice(0, 5)
    const more = troubles.map((trouble) => `\n  ${trouble}`).join('')
    throw new CliError(error.code, `${error.message}${more}`, { cause: error })
  }
}
