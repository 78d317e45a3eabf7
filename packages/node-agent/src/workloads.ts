// SPDX-License-Identifier: Apache-2.0
// Local pods, found by their cgroups: <root>/kubepods[/<QoS>]/pod<uid>, or systemd's names. inotify says that something
// changed, a scan says what; a slow rescan makes up for lost notifications.
import { readdirSync, statSync, watch, type FSWatcher } from 'node:fs'
import { basename, join } from 'node:path'
import { AgentError } from './errors.ts'

export interface PodCgroup {
  /** Inode number of the directory: what the kernel calls the cgroup's id. */
  readonly id: bigint
  readonly path: string
}

const kubepodsNames: ReadonlySet<string> = new Set(['kubepods', 'kubepods.slice'])
const qosName = /^(?:besteffort|burstable|kubepods-(?:besteffort|burstable)\.slice)$/
const podName = /^(?:kubepods(?:-[a-z]+)?-)?pod([0-9a-zA-Z_-]+?)(?:\.slice)?$/

/** uid of the pod whose cgroup has this name; undefined: it is no pod's. systemd has "_" where the uid has "-". */
export function podUidOf(name: string): string | undefined {
  const uid = podName.exec(name)?.[1]
  return name.endsWith('.slice') ? uid?.replaceAll('_', '-') : uid
}

/** Directory of a pod's cgroup. Throws AgentError OPTION when there is none, as with a wrong --cgroup-root. */
export function podCgroup(root: string, uid: string): string {
  const cgroups = new PodCgroups(root, 3_600_000, () => undefined)
  try {
    const found = cgroups.pods.get(uid)?.path
    if (found !== undefined) return found
  } finally {
    cgroups.close()
  }
  const message = `--proxy-pod-uid: no cgroup of pod ${uid} below ${root}/kubepods or ${root}/kubepods.slice`
  throw new AgentError('OPTION', message)
}

export class PodCgroups {
  readonly #root: string
  readonly #onChange: () => void
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #timer: NodeJS.Timeout
  #scheduled: NodeJS.Immediate | undefined
  #pods: ReadonlyMap<string, PodCgroup> = new Map()
  #kubepodsId: bigint | undefined

  /** Scans at once. `onChange` is called whenever `pods` or `kubepodsId` changed, never from the constructor. */
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

  /** Id of the cgroup of all pods. */
  get kubepodsId(): bigint | undefined {
    return this.#kubepodsId
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
    const parents: string[] = [this.#root]
    this.#watch(this.#root)
    const pods = new Map<string, PodCgroup>()
    let kubepodsId: bigint | undefined
    for (const name of this.#directories(this.#root)) {
      if (!kubepodsNames.has(name)) continue
      const kubepods = join(this.#root, name)
      kubepodsId ??= idOf(kubepods)
      this.#scanParent(kubepods, pods, parents)
    }
    for (const [path, watcher] of this.#watchers) {
      if (parents.includes(path)) continue
      watcher.close()
      this.#watchers.delete(path)
    }
    const changed = kubepodsId !== this.#kubepodsId || !samePods(this.#pods, pods)
    this.#kubepodsId = kubepodsId
    this.#pods = pods
    return changed
  }

  #scanParent(path: string, pods: Map<string, PodCgroup>, parents: string[]): void {
    parents.push(path)
    this.#watch(path)
    for (const name of this.#directories(path)) {
      const child = join(path, name)
      if (qosName.test(name) && kubepodsNames.has(basename(path))) {
        this.#scanParent(child, pods, parents)
        continue
      }
      const uid = podUidOf(name)
      const id = uid === undefined ? undefined : idOf(child)
      if (uid !== undefined && id !== undefined) pods.set(uid, { id, path: child })
    }
  }

  #directories(path: string): string[] {
    try {
      return readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name)
    } catch {
      return [] // removed a moment ago
    }
  }

  #watch(path: string): void {
    if (this.#watchers.has(path)) return
    try {
      const watcher = watch(path, { persistent: false }, () => {
        this.#soon()
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
    this.#soon()
  }

  /** One scan for all notifications of this turn. */
  #soon(): void {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined
      this.rescan()
    })
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
