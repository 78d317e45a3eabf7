// SPDX-License-Identifier: Apache-2.0
// The calls of the installation, and no others: manifests/default/rbac.yaml allows exactly these.
import { isDeepStrictEqual } from 'node:util'
import { ApiError, type ApiClient } from '../watch/client.ts'
import type { ServerObject } from '../watch/reflector.ts'
import { compiledResources, pathOf, type Resource } from '../watch/resources.ts'
import type { InstallCondition } from './condition.ts'
import type { NodePod } from './decide.ts'
import { cleanerName, finalizer, nodeName } from './names.ts'
import {
  nodePodMonitor,
  nodeService,
  revisionIn,
  selectorIn,
  withFinalizer,
  withoutFinalizer,
  type Manifest,
} from './objects.ts'

/** Of a client; the reflectors need the whole one. */
export type ApiAccess = ApiClient

/** Its own: the conditions of the Mesh are a map by type, and this manager owns one entry. */
const fieldManager = 'pillion-operator-install'

const core = { group: '', version: 'v1', optional: false } as const
const services: Resource = { ...core, kind: 'Service', plural: 'services' }
const monitors: Resource = {
  group: 'monitoring.coreos.com',
  version: 'v1',
  kind: 'PodMonitor',
  plural: 'podmonitors',
  optional: true,
}
const daemonSets: Resource = {
  group: 'apps',
  version: 'v1',
  kind: 'DaemonSet',
  plural: 'daemonsets',
  optional: false,
}
const pods: Resource = { ...core, kind: 'Pod', plural: 'pods' }
const meshes = compiledResources.find(({ kind }) => kind === 'Mesh') as Resource

/** What is watched while leading. */
export function installResources(namespace: string): Resource[] {
  return [
    meshes,
    { ...daemonSets, namespace, fieldSelector: `metadata.name=${nodeName}` },
    {
      ...pods,
      namespace,
      labelSelector: `app.kubernetes.io/name in (${nodeName},${cleanerName})`,
    },
  ]
}

export class InstallApi {
  readonly #client: ApiAccess
  readonly #namespace: string
  /** Objects as applied last: only a difference is written. */
  readonly #applied = new Map<string, Manifest>()
  /** Generation of the DaemonSet that we made; another one is somebody's edit, and undone. */
  #generation: unknown

  constructor(client: ApiAccess, namespace: string) {
    this.#client = client
    this.#namespace = namespace
  }

  holds(mesh: ServerObject): boolean {
    return finalizersOf(mesh).includes(finalizer)
  }

  /** Before anything is installed: from then on the Mesh does not go without us. */
  async hold(mesh: ServerObject): Promise<void> {
    if (!this.holds(mesh)) await this.#patchFinalizers(mesh, withFinalizer)
  }

  async release(mesh: ServerObject): Promise<void> {
    await this.#patchFinalizers(mesh, withoutFinalizer)
  }

  /** Applies the DaemonSet if `shown`, what the server has, is another or was changed; returns what is there now. */
  async ensure(wanted: Manifest, shown: ServerObject | undefined): Promise<ServerObject> {
    const generation = shown?.metadata['generation']
    const isSame =
      shown !== undefined &&
      revisionIn(shown) === revisionIn(wanted) &&
      isDeepStrictEqual(selectorIn(shown), selectorIn(wanted)) &&
      generation === (this.#generation ?? generation)
    if (isSame) {
      this.#generation = generation
      return shown
    }
    const answer = await this.#apply(daemonSets, wanted)
    this.#generation = answer.metadata['generation']
    return answer
  }

  /** Service, and PodMonitor where its kind exists. */
  async ensureExtras(): Promise<void> {
    await this.#applyOnce(services, nodeService(this.#namespace))
    await this.#applyOnce(monitors, nodePodMonitor(this.#namespace)).catch(
      (error: unknown) => {
        // Looked for again by the next replica that leads: an operator is restarted more often than a CRD is installed.
        if (!isMissing(error)) throw error
        this.#applied.set(monitors.plural, nodePodMonitor(this.#namespace))
      },
    )
  }

  async removeAll(): Promise<void> {
    for (const resource of [daemonSets, services, monitors]) {
      await this.#client
        .request({
          method: 'DELETE',
          path: this.#path(resource, nodeName),
          body: {
            kind: 'DeleteOptions',
            apiVersion: 'v1',
            propagationPolicy: 'Background',
          },
        })
        .catch((error: unknown) => {
          if (!isMissing(error)) throw error
        })
    }
    this.#applied.clear()
    this.#generation = undefined
  }

  /** One of the same name that still stops is in the way: tried again when it is gone. */
  async createPod(pod: Manifest): Promise<void> {
    await this.#client
      .request({
        method: 'POST',
        path: pathOf({ ...pods, namespace: this.#namespace }),
        query: { fieldManager },
        body: pod,
      })
      .catch((error: unknown) => {
        if (!(error instanceof ApiError && error.status === 409)) throw error
      })
  }

  /** This very pod: one of the same name may have taken its place. */
  async deletePod({ name, uid }: Pick<NodePod, 'name' | 'uid'>): Promise<void> {
    await this.#client
      .request({
        method: 'DELETE',
        path: this.#path(pods, name),
        body: { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid } },
      })
      .catch((error: unknown) => {
        if (!isMissing(error)) throw error
      })
  }

  /** Annotations of the DaemonSet. */
  async annotate(annotations: Readonly<Record<string, string>>): Promise<void> {
    await this.#client.request({
      method: 'PATCH',
      path: this.#path(daemonSets, nodeName),
      query: { fieldManager },
      contentType: 'application/merge-patch+json',
      body: { metadata: { annotations } },
    })
  }

  /** Writes `status.nodes` and the condition, if the Mesh says something else. */
  async tell(
    mesh: ServerObject,
    nodes: { readonly ready: number; readonly total: number },
    condition: InstallCondition,
  ): Promise<void> {
    const status = (mesh['status'] ?? {}) as {
      nodes?: unknown
      conditions?: (InstallCondition & {
        lastTransitionTime: string
        observedGeneration: unknown
      })[]
    }
    const shown = status.conditions?.find(({ type }) => type === condition.type)
    const observedGeneration = mesh.metadata['generation']
    const lastTransitionTime =
      shown?.status === condition.status
        ? shown.lastTransitionTime
        : new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    const wanted = { ...condition, observedGeneration, lastTransitionTime }
    if (isDeepStrictEqual(shown, wanted) && isDeepStrictEqual(status.nodes, nodes)) return
    const { name } = mesh.metadata
    await this.#client.request({
      method: 'PATCH',
      path: pathOf(meshes, { namespace: '', name }, 'status'),
      query: { fieldManager, force: 'true' },
      contentType: 'application/apply-patch+yaml',
      body: {
        apiVersion: 'mesh.pillion.dev/v1alpha1',
        kind: 'Mesh',
        metadata: { name },
        status: { nodes, conditions: [wanted] },
      },
    })
  }

  async #applyOnce(resource: Resource, object: Manifest): Promise<void> {
    if (isDeepStrictEqual(this.#applied.get(resource.plural), object)) return
    await this.#apply(resource, object)
    this.#applied.set(resource.plural, object)
  }

  async #apply(resource: Resource, body: Manifest): Promise<ServerObject> {
    return this.#client.request<ServerObject>({
      method: 'PATCH',
      path: this.#path(resource, body.metadata.name),
      query: { fieldManager, force: 'true' },
      contentType: 'application/apply-patch+yaml',
      body,
    })
  }

  async #patchFinalizers(
    mesh: ServerObject,
    change: (finalizers: readonly string[]) => readonly string[],
  ): Promise<void> {
    const { name, resourceVersion } = mesh.metadata
    await this.#client.request({
      method: 'PATCH',
      path: pathOf(meshes, { namespace: '', name }),
      query: { fieldManager },
      contentType: 'application/merge-patch+json',
      // With the version: a merge patch replaces the list as a whole.
      body: { metadata: { resourceVersion, finalizers: change(finalizersOf(mesh)) } },
    })
  }

  #path(resource: Resource, name: string): string {
    return pathOf(resource, { namespace: this.#namespace, name })
  }
}

function finalizersOf({ metadata }: ServerObject): readonly string[] {
  const finalizers = metadata['finalizers']
  return Array.isArray(finalizers) ? (finalizers as string[]) : []
}

function isMissing(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404
}
