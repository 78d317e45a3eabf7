// SPDX-License-Identifier: Apache-2.0
// The objects of a directory as `kubectl apply -k` sees it, as far as manifests/ uses kustomize: resources and namespace.
// Whatever else a kustomization says is refused: an installation that is almost right is worse than none.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isManifest, readDocuments } from '@pillion/operator'
import { messageOf } from '@pillion/lab'
import { parse } from 'yaml'
import type { Manifest } from '../cluster/objects.ts'
import { CliError } from '../errors.ts'

/** `manifests/default` of this checkout. */
export const defaultManifests = resolve(
  import.meta.dirname,
  '../../../../manifests/default',
)

const kustomizationName = 'kustomization.yaml'
const understood = new Set(['apiVersion', 'kind', 'resources', 'namespace', 'images'])
/** A resource that names its own folder would never end. */
const maxDepth = 8

interface Image {
  readonly name: string
  readonly newName?: string
  readonly newTag?: string
  readonly digest?: string
}

interface Kustomization {
  readonly resources?: readonly string[]
  readonly namespace?: string
  readonly images?: readonly Image[]
}

/** Objects of a file, or of a directory with or without a kustomization. Throws a CliError that names the file. */
export function loadManifests(path: string, depth = 0): Manifest[] {
  if (!existsSync(path)) throw new CliError('usage', `${path} does not exist`)
  if (depth > maxDepth)
    throw new CliError('failed', `${path}: more than ${maxDepth} folders deep`)
  if (!statSync(path).isDirectory()) return readFile(path)
  const file = join(path, kustomizationName)
  if (existsSync(file)) return kustomized(path, file, depth)
  return readdirSync(path)
    .filter(isManifest)
    .sort()
    .flatMap((name) => readFile(join(path, name)))
}

function kustomized(dir: string, file: string, depth: number): Manifest[] {
  const kustomization = (parse(textOf(file)) ?? {}) as Kustomization
  const unknown = Object.keys(kustomization).filter((field) => !understood.has(field))
  if (unknown.length > 0)
    throw new CliError(
      'failed',
      `${file}: ${unknown.join(', ')} is not understood here; use kubectl apply -k ${dir}`,
    )
  const { resources = [], namespace, images = [] } = kustomization
  const objects = resources.flatMap((name) => loadManifests(join(dir, name), depth + 1))
  const placed =
    namespace === undefined
      ? objects
      : objects.map((object) => placedIn(object, namespace))
  return placed.map((object) => withImages(object, images))
}

/** As kustomize: where the object lives, and whom bindings speak of. */
function placedIn(object: Manifest, namespace: string): Manifest {
  const { kind, metadata, subjects } = object
  if (kind === 'Namespace')
    return { ...object, metadata: { ...metadata, name: namespace } }
  const bound = Array.isArray(subjects)
    ? {
        subjects: (subjects as { kind: string }[]).map((subject) =>
          subject.kind === 'ServiceAccount' ? { ...subject, namespace } : subject,
        ),
      }
    : {}
  const { namespace: _, ...rest } = metadata
  const isCluster = clusterKinds.has(kind)
  return { ...object, ...bound, metadata: isCluster ? rest : { ...rest, namespace } }
}

const clusterKinds = new Set([
  ...['CustomResourceDefinition', 'ClusterRole', 'ClusterRoleBinding', 'PriorityClass'],
  ...['Mesh', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'],
])

function withImages(object: Manifest, images: readonly Image[]): Manifest {
  if (images.length === 0) return object
  return mapImages(object, images) as Manifest
}

function mapImages(value: unknown, images: readonly Image[]): unknown {
  if (Array.isArray(value)) return value.map((item) => mapImages(item, images))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key === 'image' && typeof item === 'string'
        ? replaced(item, images)
        : mapImages(item, images),
    ]),
  )
}

function replaced(image: string, images: readonly Image[]): string {
  const [, name = image, tag = ''] = /^(.*?)((?::[^:/@]+)?(?:@.+)?)$/.exec(image) ?? []
  const rule = images.find((each) => each.name === name)
  if (rule === undefined) return image
  const { newName = name, newTag, digest } = rule
  if (digest !== undefined) return `${newName}@${digest}`
  return `${newName}${newTag === undefined ? tag : `:${newTag}`}`
}

/** Objects of a file; what readDocuments lets through has apiVersion, kind and name. */
function readFile(file: string): Manifest[] {
  return readDocuments(textOf(file)).flatMap(({ objects, error }) => {
    if (error !== undefined) throw new CliError('failed', `${file}: ${error}`)
    return objects
  })
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new CliError('failed', `${file}: ${messageOf(error)}`, { cause: error })
  }
}
