// SPDX-License-Identifier: Apache-2.0
// Local pods, found by their cgroups (pod-path.ts). inotify names what was made or removed, within a millisecond or so; a slow
// scan of everything makes up for lost notifications.
import { readdirSync, statSync, watch, type FSWatcher } from 'node:fs'
import { join, relative } from 'node:path'
import { AgentError } from './errors.ts'
import { placeOf } from './pod-path.ts'

export interface PodCgroup {
  /** Inode number of the directory: what the kernel calls the cgroup's id. */
  readonly id: bigint
  readonly path: string
}

/** The kubelet's cgroupRoot may put kubepods so many directories below ours. */
const maxPrefixDepth = 3

/** Directory of a pod's cgroup. Throws AgentError OPTION when there is none, as with a wrong --cgroup-root. */
export function podCgroup(root: string, uid: string): string {
  const cgroups = new PodCgroups(root, 3_600_000, () => undefined)
  try {
    const found = cgroups.pods.get(uid)?.path
    if (found !== undefined) return found
  } finally {
    cgroups.close()
  }
  const message = `--proxy-pod-uid: no cgroup of pod ${uid} below kubepods in ${root}`
  throw new AgentError('OPTION', message)
}

export class PodCgroups {
  readonly #root: string
  readonly #onChange: () => void
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #timer: NodeJS.Timeout
  #scheduled: NodeJS.Immediate | undefined
  /** Directories that were named since the last turn; undefined: look at everything. */
  #named: Set<string> | undefined = new Set()
  #pods: ReadonlyMap<string, PodCgroup> = new Map()
  #kubepodsIds: readonly bigint[] = []

  /** Scans at once. `onChange` is called whenever `pods` or `kubepodsIds` changed, never from the constructor. */
  constructor(root: string, rescanMs: number, onChange: () => void) {
    this.#root = root
    this.#onChange = onChange
    this.#scan()
    this.#timer = setInterval(() => {
      this.rescan()
    }, rescanMs)
  }

  /** By uid. */
  get pods(): ReadonlyMap<string, PodCgroup> {
    return this.#pods
  }

  /** Ids of the cgroups of all pods: more than one where a kubelet with another driver left one behind. */
  get kubepodsIds(): readonly bigint[] {
    return this.#kubepodsIds
  }

  /** Looks at everything again. */
  rescan(): void {
    if (this.#scan()) this.#onChange()
  }

  close(): void {
    clearInterval(this.#timer)
    clearImmediate(this.#scheduled)
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  /** True when something changed. Watches before it reads: what is made in between is notified. */
  #scan(): boolean {
    const watched = new Set([this.#root])
    this.#watch(this.#root)
    const pods = new Map<string, PodCgroup>()
    const trees = this.#findKubepods()
    for (const tree of trees) this.#scanParent(tree, pods, watched)
    for (const [path, watcher] of this.#watchers) {
      if (watched.has(path)) continue
      watcher.close()
      this.#watchers.delete(path)
    }
    const ids = trees.map(idOf).filter((id) => id !== undefined)
    const changed = ids.join() !== this.#kubepodsIds.join() || !samePods(this.#pods, pods)
    this.#kubepodsIds = ids
    this.#pods = pods
    return changed
  }

  /** The highest kubepods: one inside of a pod is that pod's own business (Kubernetes in Kubernetes). */
  #findKubepods(): string[] {
    let level = [this.#root]
    for (let depth = 0; depth <= maxPrefixDepth && level.length > 0; depth++) {
      const below = level.flatMap((path) =>
        directories(path).map((name) => join(path, name)),
      )
      const found = below.filter((path) => this.#placeOf(path).kind === 'kubepods')
      if (found.length > 0) return found.sort()
      level = below
    }
    return []
  }

  #scanParent(path: string, pods: Map<string, PodCgroup>, watched: Set<string>): void {
    watched.add(path)
    this.#watch(path)
    for (const name of directories(path)) {
      const child = join(path, name)
      const place = this.#placeOf(child)
      if (place.kind === 'qos') this.#scanParent(child, pods, watched)
      if (place.kind !== 'pod') continue
      const id = idOf(child)
      if (id !== undefined) pods.set(place.uid, { id, path: child })
    }
  }

  /** Looks at these directories only: with a thousand pods, a thousand new ones cost what they cost. True: changed. */
  #look(paths: ReadonlySet<string>): boolean {
    const pods = new Map(this.#pods)
    let changed = false
    for (const path of paths) {
      const place = this.#placeOf(path)
      // A file of kubepods itself, most often: they change all the time.
      if (place.kind === 'foreign') continue
      if (place.kind !== 'pod') return this.#scan() || changed
      const id = idOf(path)
      const known = pods.get(place.uid)
      if (id === known?.id) continue
      // Another directory of this pod (the driver has changed) may be the one that counts.
      if (id === undefined && known?.path !== path) continue
      if (id === undefined) pods.delete(place.uid)
      else pods.set(place.uid, { id, path })
      changed = true
    }
    this.#pods = pods
    return changed
  }

  #placeOf(path: string) {
    return placeOf(relative(this.#root, path))
  }

  #watch(path: string): void {
    if (this.#watchers.has(path)) return
    try {
      const watcher = watch(path, { persistent: false }, (_, name) => {
        this.#soon(name === null || path === this.#root ? undefined : join(path, name))
      })
      watcher.on('error', () => {
        this.#forget(path)
      })
      this.#watchers.set(path, watcher)
    } catch {
      // Gone, or no inotify left: the slow rescan finds it.
    }
  }

  #forget(path: string): void {
    this.#watchers.get(path)?.close()
    this.#watchers.delete(path)
    this.#soon(undefined)
  }

  /** One look for all notifications of this turn. */
  #soon(path: string | undefined): void {
    if (path === undefined) this.#named = undefined
    else this.#named?.add(path)
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined
      const named = this.#named
      this.#named = new Set()
      if (named === undefined ? this.#scan() : this.#look(named)) this.#onChange()
    })
  }
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch {
    return [] // removed a moment ago
  }
}

function idOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}

function samePods(
  a: ReadonlyMap<string, PodCgroup>,
  b: ReadonlyMap<string, PodCgroup>,
): boolean {
  return a.size === b.size && [...b].every(([uid, { id }]) => a.get(uid)?.id === id)
}
