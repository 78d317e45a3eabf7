// SPDX-License-Identifier: Apache-2.0
// Where the lab keeps things on the host. Everything is found again by these names alone, so that `down` needs no memory.
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { LabError } from './errors.ts'

/** Root of the checkout that this file is part of. */
export const checkout = resolve(import.meta.dirname, '../../..')

/** The run directory: sockets, objects, logs. Its existence is the lock against a second lab. */
export const runDir = '/run/pillion-lab'

/** Pinned programs and maps, one directory a node. */
export const pinRoot = '/sys/fs/bpf/pillion'

export const paths = {
  socket: join(runDir, 'lab.sock'),
  state: join(runDir, 'state.json'),
  objects: join(runDir, 'objects'),
  /** Temporary files of atomic renames: same file system, not watched by anyone. */
  temporary: join(runDir, 'tmp'),
  status: join(runDir, 'status'),
  logs: join(runDir, 'logs'),
  dnsRecords: join(runDir, 'dns', 'records.json'),
  operatorDir: join(runDir, 'operator'),
  operatorSocket: join(runDir, 'operator', 'operator.sock'),
  operatorAdmin: join(runDir, 'operator', 'admin.sock'),
  /** The checkout as processes without DAC_OVERRIDE see it (bind mount in their own mount namespace). */
  software: join(runDir, 'software'),
  /** Where the proxies see filters and their secrets. */
  filters: join(runDir, 'filters'),
  filterSecrets: join(runDir, 'filter-secrets'),
  /** Exists when the lab mounted bpffs itself, so that `down` unmounts it again. */
  bpffsMark: join(runDir, 'bpffs-mounted'),
  supervisorLog: join(runDir, 'logs', 'supervisor.log'),
} as const

/** Paths of one node. */
export type NodePaths = ReturnType<typeof nodePaths>

export function nodePaths(node: string) {
  const dir = join(runDir, node)
  return {
    dir,
    agentSocket: join(dir, 'agent.sock'),
    agentState: join(dir, 'agent'),
    proxySocket: join(dir, 'proxy.sock'),
    proxyHandover: join(dir, 'proxy-handover.sock'),
    pins: join(pinRoot, node),
    agentLog: join(paths.logs, `${node}.agent.log`),
    proxyLog: join(paths.logs, `${node}.proxy.log`),
    probeLog: join(paths.logs, `${node}.probe.log`),
  }
}

/** Log of a pod: "shop_web-1.log"; neither name may contain an underscore. */
export function podLog(namespace: string, name: string): string {
  return join(paths.logs, `${namespace}_${name}.log`)
}

/** resolv.conf and hosts of a pod. */
export function podFiles(uid: string): {
  dir: string
  resolvConf: string
  hosts: string
} {
  const dir = join(runDir, 'pods', uid)
  return { dir, resolvConf: join(dir, 'resolv.conf'), hosts: join(dir, 'hosts') }
}

/** The cgroup v2 mount point: the usual place or …/unified, as the mount table says. */
export function cgroupMount(
  mounts: string = readFileSync('/proc/mounts', 'utf8'),
): string {
  for (const line of mounts.split('\n')) {
    const [, dir, type] = line.split(' ')
    if (type === 'cgroup2' && dir !== undefined) return dir.replaceAll('\\040', ' ')
  }
  throw new LabError(
    'host',
    'no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified',
  )
}

/** The lab's cgroup: everything that the lab ever started is below it. */
export function labCgroup(): string {
  return join(cgroupMount(), 'pillion-lab')
}

export function nodeCgroup(node: string): string {
  return join(labCgroup(), node)
}

/** Cgroup of a node's process that is in no pod: agent, proxy, probe, exec. */
export function systemCgroup(node: string, name: string): string {
  return join(nodeCgroup(node), 'system', name)
}

export function podCgroup(node: string, uid: string): string {
  return join(nodeCgroup(node), 'kubepods', `pod${uid}`)
}

/** Directory of the Node.js that runs this process: first in every pod's PATH. */
export const nodeBinDir = dirname(process.execPath)
