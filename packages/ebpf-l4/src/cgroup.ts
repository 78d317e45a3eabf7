// SPDX-License-Identifier: Apache-2.0
import { readFileSync, statSync } from 'node:fs'
import { BpfError } from './errors.ts'

/** Where cgroup v2 is mounted: at the usual place, or beside v1 (hybrid). Throws when it is nowhere. */
export function cgroup2Mount(mounts = readFileSync('/proc/self/mounts', 'utf8')): string {
  for (const line of mounts.split('\n')) {
    const [, path, type] = line.split(' ')
    if (type === 'cgroup2' && path !== undefined) return path
  }
  throw new BpfError(
    'SYSTEM',
    'cgroup v2 is not mounted; mount -t cgroup2 none /sys/fs/cgroup',
  )
}

/** Depth below the root of the hierarchy: what bpf_get_current_ancestor_cgroup_id calls the level. */
export function cgroupLevel(path: string, mount = cgroup2Mount()): number {
  if (path !== mount && !path.startsWith(`${mount}/`)) {
    throw new BpfError('SYSTEM', `${path} is not below the cgroup v2 mount ${mount}`)
  }
  return path.slice(mount.length).split('/').filter(Boolean).length
}

/** Id of a cgroup: the inode number of its directory. */
export function cgroupId(path: string): bigint {
  return statSync(path, { bigint: true }).ino
}
