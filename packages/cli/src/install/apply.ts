// SPDX-License-Identifier: Apache-2.0
// What an installation consists of, and bringing it into a cluster.
import { ApiError, type Cluster } from '@pillion/operator'
import { describeObject, Objects, type Manifest } from '../cluster/objects.ts'
import { CliError } from '../errors.ts'
import type { Steps } from '../output.ts'
import { loadManifests } from './kustomize.ts'
import { inOrder, keyOf } from './order.ts'
import { definitionsServed, meshKind, meshObject } from './rollout.ts'

export interface Plan {
  /** CRDs, RBAC, operator; in the order in which they are made. */
  readonly objects: readonly Manifest[]
  /** The Mesh to apply; undefined: one is there, and stays as it is. */
  readonly mesh: Manifest | undefined
  /** Objects of the user's file beside the Mesh. */
  readonly others: readonly Manifest[]
}

export type Change = 'created' | 'configured' | 'unchanged'

export interface Applied {
  readonly object: string
  readonly change: Change
  /** Of a dry run: why the server could not judge it yet. */
  readonly note?: string
}

/** Reads the manifests and the user's file. Throws a CliError when the file has not exactly one Mesh. */
export function planOf(manifests: string, file: string | undefined): Plan {
  const objects = inOrder(loadManifests(manifests))
  if (objects.length === 0)
    throw new CliError('usage', `${manifests} holds no manifests; see --manifests`)
  const isMesh = ({ apiVersion, kind }: Manifest): boolean =>
    kind === meshKind.kind && apiVersion.startsWith('mesh.pillion.dev/')
  const given = file === undefined ? [] : loadManifests(file)
  const meshes = [...objects, ...given].filter(isMesh)
  if (file !== undefined && meshes.length !== 1)
    throw new CliError('usage', `${file}: ${meshes.length} Meshes; one is needed`)
  return {
    objects: objects.filter((object) => !isMesh(object)),
    mesh: meshes[0],
    others: given.filter((object) => !isMesh(object)),
  }
}

/** Applies a plan. With `dryRun` the server judges and nothing is changed. */
export async function applyPlan(
  cluster: Cluster,
  plan: Plan,
  options: {
    readonly dryRun: boolean
    readonly steps: Steps
    readonly timeoutMs: number
  },
): Promise<Applied[]> {
  const { dryRun, steps, timeoutMs } = options
  const objects = new Objects(cluster)
  const mesh = plan.mesh ?? ((await objects.get(meshObject)) ? undefined : bareMesh)
  const applied: Applied[] = []
  const apply = async (each: Manifest): Promise<void> => {
    steps.at('apply', describeObject(each))
    applied.push(await applyOne(objects, each, dryRun))
  }
  const planned = new Set(plan.objects.map(keyOf))
  for (const each of plan.objects) await apply(each)
  const crds = plan.objects.filter(({ kind }) => kind === 'CustomResourceDefinition')
  if (!dryRun) {
    steps.at('definitions', 'until they are served')
    await definitionsServed(objects, crds, timeoutMs)
  }
  const last = [...(mesh === undefined ? [] : [mesh]), ...plan.others]
  for (const each of last.filter((object) => !planned.has(keyOf(object))))
    await apply(each)
  return applied
}

const bareMesh: Manifest = { ...meshObject, spec: {} }

async function applyOne(
  objects: Objects,
  object: Manifest,
  dryRun: boolean,
): Promise<Applied> {
  const name = describeObject(object)
  const before = await objects.get(object)
  const change: Change = before === undefined ? 'created' : 'configured'
  if (dryRun && (await objects.pathOf(object)) === undefined)
    return { object: name, change, note: 'its kind comes with this installation' }
  try {
    const after = await objects.apply(object, dryRun)
    // Not by resourceVersion: a dry run has none, and others write the status meanwhile.
    const same = before !== undefined && isSame(before, after)
    return { object: name, change: same ? 'unchanged' : change }
  } catch (error) {
    const namespaceToCome = dryRun && error instanceof ApiError && error.status === 404
    if (!namespaceToCome) throw error
    return { object: name, change, note: 'its namespace comes with this installation' }
  }
}

/** Equal but for status and what every apply touches. */
function isSame(a: object, b: object): boolean {
  return text(a) === text(b)
}

function text(object: object): string {
  return JSON.stringify(sorted({ ...object, status: undefined }, ''))
}

function sorted(value: unknown, key: string): unknown {
  if (Array.isArray(value)) return value.map((item) => sorted(item, ''))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !(key === 'metadata' && touched.has(name)))
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, item]) => [name, sorted(item, name)]),
  )
}

const touched = new Set(['managedFields', 'resourceVersion', 'generation'])
