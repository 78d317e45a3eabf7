// SPDX-License-Identifier: Apache-2.0
// What people applied: validated as a whole, then stored with what an API server would add (uid, namespace objects,
// cluster addresses).
import { randomUUID } from 'node:crypto'
import { LabError } from '../errors.ts'
import { checkRunnable } from '../manifest/check.ts'
import type { Loaded } from '../manifest/load.ts'
import { validate } from '../manifest/validate.ts'
import { ClusterIPs } from '../object/cluster-ip.ts'
import { NodePorts } from '../object/node-port.ts'
import type { ObjectStore } from '../object/store.ts'
import type { Applied } from '../source/source.ts'
import {
  keyOf,
  nameOf,
  type DeploymentObject,
  type KubeObject,
  type PodObject,
  type ServiceObject,
} from '../types.ts'

export class Inventory {
  readonly #store: ObjectStore
  readonly #nodes: readonly string[]
  readonly #ips = new ClusterIPs()
  readonly #nodePorts = new NodePorts()
  /** As it was applied, by key; the store holds it with what was added. */
  readonly #applied = new Map<string, Loaded>()
  readonly #pods = new Map<string, PodObject>()
  readonly #deploymentUids = new Map<string, string>()
  /** Nodes as the lab made them; manifests add labels. */
  readonly #nodeObjects = new Map<string, KubeObject>()

  constructor(store: ObjectStore, nodes: readonly string[]) {
    this.#store = store
    this.#nodes = nodes
  }

  /** Bare pods that should run. */
  get pods(): PodObject[] {
    return [...this.#pods.values()]
  }

  get deployments(): { object: DeploymentObject; uid: string }[] {
    return [...this.#applied.values()]
      .filter(({ object }) => object.kind === 'Deployment')
      .map(({ object }) => ({
        object: object as DeploymentObject,
        uid: this.#deploymentUids.get(keyOf(object)) ?? '',
      }))
  }

  get services(): ServiceObject[] {
    return this.#store.list('Service') as ServiceObject[]
  }

  /** A node that the lab made. */
  putNode(node: KubeObject): void {
    this.#nodeObjects.set(node.metadata.name, node)
    this.#storeNode(node.metadata.name)
  }

  /** With the labels of its manifest, if there is one: as `kubectl label node`. */
  #storeNode(name: string): void {
    const node = this.#nodeObjects.get(name)
    if (node === undefined) return // not made yet
    const applied = this.#applied.get(keyOf(node))?.object.metadata.labels
    const labels = { ...applied, ...node.metadata.labels }
    this.#store.put({ ...node, metadata: { ...node.metadata, labels } })
  }

  /** Applies all or nothing. Throws a LabError that names file, object and field of everything that is wrong. */
  apply(loaded: readonly Loaded[]): Applied[] {
    const problems = [
      ...duplicates(loaded),
      ...checkRunnable(loaded, this.#nodes),
      ...validate(loaded),
    ]
    if (problems.length > 0) throw new LabError('invalid', problems.join('\n'))
    // Addresses and node ports first: the only things that can still be refused.
    const completed = loaded.map((item) => ({
      item,
      object: this.#complete(item.object),
    }))
    return completed.map(({ item, object }) => this.#put(item, object))
  }

  #complete(object: KubeObject): KubeObject {
    if (object.kind !== 'Service') return object
    return this.#nodePorts.assign(this.#ips.assign(object as ServiceObject))
  }

  #put(item: Loaded, completed: KubeObject): Applied {
    const { object } = item
    const key = keyOf(object)
    const before = this.#applied.get(key)
    this.#applied.set(key, item)
    const { namespace, name } = object.metadata
    if (namespace !== undefined) this.ensureNamespace(namespace)
    const result = (action: Applied['action']): Applied => ({
      kind: object.kind,
      ...(namespace === undefined ? {} : { namespace }),
      name,
      action,
    })
    if (before !== undefined && same(before.object, object)) return result('unchanged')
    if (object.kind === 'Pod') {
      this.#pods.set(key, object as PodObject) // the Pod object itself is the runner's
    } else if (object.kind === 'Node') {
      this.#storeNode(name)
    } else {
      const existing = this.#store.get(object.kind, namespace, name)
      const uid = existing?.metadata.uid ?? object.metadata.uid ?? randomUUID()
      if (object.kind === 'Deployment') this.#deploymentUids.set(key, uid)
      this.#store.put(withMeta(completed, uid, existing?.metadata.creationTimestamp))
    }
    return result(before === undefined ? 'created' : 'configured')
  }

  /** A namespace and its default service account exist from their first use. */
  ensureNamespace(name: string): void {
    if (this.#store.get('Namespace', undefined, name) === undefined) {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
      this.#store.put(withMeta(namespace, randomUUID(), undefined))
    }
    if (this.#store.get('ServiceAccount', name, 'default') === undefined) {
      const metadata = { name: 'default', namespace: name }
      const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata }
      this.#store.put(withMeta(account, randomUUID(), undefined))
    }
  }

  /** Deletes one object; a Namespace with everything in it. Throws a LabError when it does not exist. */
  delete(kind: string, namespace: string | undefined, name: string): Applied[] {
    const found = [...this.#applied.values()].find(
      ({ object }) =>
        object.kind.toLowerCase() === kind.toLowerCase() &&
        object.metadata.name === name &&
        object.metadata.namespace === namespace,
    )
    if (found === undefined) {
      const where = namespace === undefined ? name : `${namespace}/${name}`
      throw new LabError('not-found', `there is no ${kind} ${where} that was applied`)
    }
    const doomed = [found]
    if (found.object.kind === 'Namespace') {
      doomed.push(
        ...[...this.#applied.values()].filter(
          (item) => item.object.metadata.namespace === name,
        ),
      )
      const account = this.#store.get('ServiceAccount', name, 'default')
      if (account !== undefined) this.#store.delete(account)
    }
    return doomed.map(({ object }) => this.#remove(object))
  }

  #remove(object: KubeObject): Applied {
    const key = keyOf(object)
    this.#applied.delete(key)
    this.#pods.delete(key)
    if (object.kind === 'Node') this.#storeNode(object.metadata.name)
    else if (object.kind !== 'Pod') this.#store.delete(object)
    if (object.kind === 'Service') {
      this.#ips.release(nameOf(object))
      this.#nodePorts.release(nameOf(object))
    }
    const { namespace, name } = object.metadata
    const place = namespace === undefined ? {} : { namespace }
    return { kind: object.kind, ...place, name, action: 'deleted' }
  }
}

function withMeta(
  object: KubeObject,
  uid: string,
  created: string | undefined,
): KubeObject {
  const labels =
    object.kind === 'Namespace'
      ? { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name }
      : object.metadata.labels
  return {
    ...object,
    metadata: {
      ...object.metadata,
      ...(labels === undefined ? {} : { labels }),
      uid,
      creationTimestamp: created ?? new Date().toISOString(),
    },
  }
}

function same(a: KubeObject, b: KubeObject): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function duplicates(loaded: readonly Loaded[]): string[] {
  const first = new Map<string, string>()
  return loaded.flatMap(({ object, from }) => {
    const key = keyOf(object)
    const other = first.get(key)
    if (other === undefined) first.set(key, from)
    return other === undefined ? [] : [`${from}: ${key}: is already in ${other}`]
  })
}
