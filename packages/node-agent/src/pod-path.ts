// SPDX-License-Identifier: Apache-2.0
// What a path below a cgroup v2 mount is to Kubernetes. Pure.
//
// The kubelet makes one cgroup a pod, [cgroupRoot/]kubepods[/QoS]/pod<uid>; runtimes put their containers below it, under
// names of their own, which are never looked at. systemd's driver writes each name with its parents' ("kubepods-burstable-…")
// and "_" for "-", which has a meaning in names of slices.

/** What a cgroup is. */
export type PodPlace =
  /** Above or beside the pods. */
  | { readonly kind: 'outside' }
  /** The parent of all pods. */
  | { readonly kind: 'kubepods' }
  /** The parent of the pods of a QoS class; guaranteed pods have none. */
  | { readonly kind: 'qos' }
  /** A pod's, or one below it: a container's. */
  | { readonly kind: 'pod'; readonly uid: string }
  /** Below kubepods, and no pod's. */
  | { readonly kind: 'foreign' }

const kubepodsName = /^(?:kubepods|(?:[^/]+-)?kubepods\.slice)$/
const podName = /^pod([0-9a-zA-Z][0-9a-zA-Z-]*)$/
const podNameInSlice = /^pod([0-9a-zA-Z][0-9a-zA-Z_]*)$/
const qosNames: ReadonlySet<string> = new Set(['burstable', 'besteffort'])

/** What the cgroup at `path` is; `path` is relative to the mount or to any parent of kubepods. */
export function placeOf(path: string): PodPlace {
  const names = path.split('/').filter((name) => name !== '')
  const start = names.findIndex((name) => kubepodsName.test(name))
  if (start === -1) return { kind: 'outside' }
  let parent = names[start] ?? ''
  let place: PodPlace = { kind: 'kubepods' }
  for (const name of names.slice(start + 1)) {
    const own = ownName(name, parent)
    const uid = own === undefined ? undefined : uidIn(own, parent.endsWith('.slice'))
    if (uid !== undefined) return { kind: 'pod', uid }
    if (place.kind !== 'kubepods' || !qosNames.has(own ?? '')) return { kind: 'foreign' }
    place = { kind: 'qos' }
    parent = name
  }
  return place
}

/**
 * uid of the pod that the cgroup at `path`, or a parent of it, belongs to; undefined: no pod's. For a static pod it is what the
 * kubelet calls it, the hash of its manifest: its mirror in the API has another uid, and this one as an annotation.
 */
export function podUidOf(path: string): string | undefined {
  const place = placeOf(path)
  return place.kind === 'pod' ? place.uid : undefined
}

/** The name without what systemd's driver repeats of the parent's; undefined: it is not that driver's. */
function ownName(name: string, parent: string): string | undefined {
  if (!parent.endsWith('.slice')) return name
  const prefix = `${parent.slice(0, -'.slice'.length)}-`
  const isOfParent = name.startsWith(prefix) && name.endsWith('.slice')
  return isOfParent ? name.slice(prefix.length, -'.slice'.length) : undefined
}

function uidIn(own: string, isSlice: boolean): string | undefined {
  if (!isSlice) return podName.exec(own)?.[1]
  return podNameInSlice.exec(own)?.[1]?.replaceAll('_', '-')
}
