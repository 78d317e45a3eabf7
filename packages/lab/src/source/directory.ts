// SPDX-License-Identifier: Apache-2.0
// A directory of manifests: read once, changed by `pillion lab apply` and `delete`. Objects are mirrored as files, which the
// operator's directory source watches.
import { LabError, messageOf } from '../errors.ts'
import { replicasOf } from '../manifest/expand.ts'
import { loadManifests } from '../manifest/load.ts'
import { ObjectStore } from '../object/store.ts'
import { paths } from '../paths.ts'
import { builtinObjects, dnsAddress } from '../supervisor/builtin.ts'
import { Inventory } from '../supervisor/inventory.ts'
import {
  keyOf,
  type DeploymentObject,
  type KubeObject,
  type ServiceObject,
} from '../types.ts'
import type { Applied, DesiredPod, Edits, ObjectSource } from './source.ts'

export class DirectorySource implements ObjectSource {
  readonly operatorArguments = [
    ...['--source', 'directory', '--dir', paths.objects, '--status-dir', paths.status],
  ]
  readonly dnsAddress = dnsAddress
  readonly #dir: string
  readonly #store = new ObjectStore(paths.objects, paths.temporary)
  readonly #inventory: Inventory
  #published: ReadonlyMap<string, KubeObject> = new Map()
  #onChange: () => void = () => undefined

  constructor(dir: string, nodes: readonly string[]) {
    this.#dir = dir
    this.#inventory = new Inventory(this.#store, nodes)
  }

  async start(): Promise<void> {
    const builtin = builtinObjects(true).map((object) => ({ object, from: 'built in' }))
    this.#inventory.apply([...builtin, ...loadManifests(this.#dir)])
  }

  follow(onChange: () => void): void {
    this.#onChange = onChange
  }

  get pods(): DesiredPod[] {
    return this.#inventory.pods.map((pod) => ({ pod, generation: JSON.stringify(pod) }))
  }

  get deployments(): { object: DeploymentObject; uid: string }[] {
    return this.#inventory.deployments
  }

  get wantedCount(): number {
    return this.deployments.reduce(
      (sum, { object }) => sum + replicasOf(object),
      this.#inventory.pods.length,
    )
  }

  get services(): ServiceObject[] {
    return this.#inventory.services
  }

  list(kind?: string): KubeObject[] {
    return this.#store.list(kind)
  }

  putNode(node: KubeObject): void {
    this.#inventory.putNode(node)
  }

  publish(objects: readonly KubeObject[]): void {
    const published = new Map(objects.map((object) => [keyOf(object), object]))
    for (const [key, object] of this.#published) {
      if (!published.has(key)) this.#store.delete(object)
    }
    for (const object of objects) this.#store.put(object)
    this.#published = published
  }

  graceSeconds(): undefined {
    return undefined
  }

  readonly edits: Edits = {
    apply: (path) => this.#changed(this.#inventory.apply(loadManifests(path))),
    deleteFile: (path) => this.#deleteFile(path),
    deleteOne: (kind, namespace, name) =>
      this.#changed(this.#inventory.delete(kind, namespace, name)),
  }

  #deleteFile(path: string): Applied[] {
    const missing: string[] = []
    const deleted = loadManifests(path).flatMap(({ object: { kind, metadata } }) => {
      try {
        return this.#inventory.delete(kind, metadata.namespace, metadata.name)
      } catch (error) {
        missing.push(messageOf(error))
        return []
      }
    })
    this.#changed(deleted)
    if (missing.length > 0) throw new LabError('not-found', missing.join('\n'))
    return deleted
  }

  #changed(applied: Applied[]): Applied[] {
    this.#onChange()
    return applied
  }
}
