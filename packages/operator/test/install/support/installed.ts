// SPDX-License-Identifier: Apache-2.0
// A cluster on which `kubectl apply -k manifests/default` was run, and nodes with subscribers as agents and proxies are.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse, parseAllDocuments } from 'yaml'
import type { Client, KubeObject } from '../../../../../test/support/apiserver/index.ts'

const manifests = join(import.meta.dirname, '../../../../../manifests')

/** What `kubectl kustomize` prints, for kustomizations that have `resources` and nothing else. */
export function kustomize(dir: string): KubeObject[] {
  const kustomization = parse(readFileSync(join(dir, 'kustomization.yaml'), 'utf8')) as {
    resources: string[]
  }
  const known = new Set(['apiVersion', 'kind', 'resources'])
  const unknown = Object.keys(kustomization).filter((key) => !known.has(key))
  if (unknown.length > 0)
    throw new TypeError(`${dir}: ${unknown.join()} is not supported`)
  return kustomization.resources.flatMap((resource) => {
    const path = join(dir, resource)
    return existsSync(join(path, 'kustomization.yaml'))
      ? kustomize(path)
      : objectsIn(path)
  })
}

export function objectsIn(path: string): KubeObject[] {
  return parseAllDocuments(readFileSync(path, 'utf8'))
    .map((document) => document.toJS() as KubeObject | null)
    .filter((object) => object !== null)
}

export const defaultManifests = (): KubeObject[] => kustomize(join(manifests, 'default'))

export const sampleFiles = (): string[] =>
  readdirSync(join(manifests, 'samples'))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => join(manifests, 'samples', file))

const plurals: Readonly<Record<string, string>> = {
  NetworkPolicy: 'networkpolicies',
  AccessPolicy: 'accesspolicies',
  Mesh: 'meshes',
}

export function collectionPath({ apiVersion, kind, metadata }: KubeObject): string {
  const root = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`
  const scope =
    metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  return `${root}${scope}/${plurals[kind] ?? `${kind.toLowerCase()}s`}`
}

/** Creates in order; waits for a kind that is being established. */
export async function create(
  admin: Client,
  objects: readonly KubeObject[],
): Promise<void> {
  for (const object of objects) {
    const path = collectionPath(object)
    const done = await until(`POST ${path}`, async () => {
      const { code, body } = await admin.create(path, object)
      if (code === 404) return undefined
      if (code >= 300) throw new Error(`${path}: ${JSON.stringify(body)}`)
      return body
    })
    if (done['kind'] !== object.kind) throw new Error(`${path}: not a ${object.kind}`)
  }
}

export async function until<T>(
  what: string,
  done: () => Promise<T | undefined> | T | undefined,
  ms = 20_000,
): Promise<T> {
  const deadline = Date.now() + ms
  for (;;) {
    const value = await done()
    if (value !== undefined && value !== false) return value
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`)
    await sleep(10)
  }
}

export interface Installed {
  readonly nodes: { ready: number; total: number } | undefined
  readonly status: string
  readonly reason: string
  readonly message: string
}

/** What the Mesh says of the installation. */
export async function installed(admin: Client): Promise<Installed | undefined> {
  const { code, body } = await admin.get('/apis/mesh.pillion.dev/v1alpha1/meshes/default')
  if (code !== 200) return undefined
  const { nodes, conditions = [] } = (body['status'] ?? {}) as {
    nodes?: Installed['nodes']
    conditions?: (Omit<Installed, 'nodes'> & { type: string })[]
  }
  const found = conditions.find(({ type }) => type === 'Installed')
  if (found === undefined) return undefined
  const { status, reason, message } = found
  return { nodes, status, reason, message }
}
