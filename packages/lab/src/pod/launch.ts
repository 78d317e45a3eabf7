// SPDX-License-Identifier: Apache-2.0
// How a pod's container, or a command beside it, is started. Pure but for the paths.
import { containerEnv, expandVariables, type PodFields } from '../manifest/env.ts'
import { nodeBinDir } from '../paths.ts'
import type { Launch } from '../process/launch.ts'
import type { Container, PodObject } from '../types.ts'

export interface PodPlace {
  readonly pod: PodObject
  readonly node: string
  readonly netns: string
  readonly cgroup: string
  readonly addresses: readonly [string, string]
  readonly hostIP: string
  /** Absolute directory of the manifests that the lab was started with. */
  readonly labDir: string
  readonly resolvConf: string
  readonly hosts: string
}

/** Capabilities of a container in Kubernetes (containerd's default set). */
const defaultCapabilities = [
  'chown',
  'dac_override',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'net_bind_service',
  'net_raw',
  'sys_chroot',
  'mknod',
  'audit_write',
  'setfcap',
]

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The container's own command. */
export function containerLaunch(place: PodPlace): Launch {
  const container = firstContainer(place.pod)
  const base = execLaunch(place, [])
  const argv = [...(container.command ?? []), ...(container.args ?? [])]
  return { ...base, argv: argv.map((argument) => expandVariables(argument, base.env)) }
}

/** A command in the pod: same namespaces, cgroup, environment and privileges as the container. */
export function execLaunch(place: PodPlace, argv: readonly string[]): Launch {
  const { pod, netns, cgroup, resolvConf, hosts, labDir } = place
  const container = firstContainer(pod)
  const env = containerEnv(container.env ?? [], podFields(place), {
    PATH: `${nodeBinDir}:${systemPath}`,
    HOME: '/root',
    HOSTNAME: pod.metadata.name,
    LAB_DIR: labDir,
  })
  return {
    cgroup,
    netns,
    mounts: [
      [resolvConf, '/etc/resolv.conf'],
      [hosts, '/etc/hosts'],
    ],
    hostname: pod.metadata.name.slice(0, 63),
    workingDir: expandVariables(container.workingDir ?? '/', env),
    privileges: privileges(pod, container),
    env,
    argv,
  }
}

function firstContainer(pod: PodObject): Container {
  return pod.spec.containers[0] ?? {}
}

function podFields(place: PodPlace): PodFields {
  const { metadata, spec } = place.pod
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? 'default',
    uid: metadata.uid ?? '',
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    nodeName: place.node,
    serviceAccountName: spec.serviceAccountName ?? 'default',
    podIPs: place.addresses,
    hostIP: place.hostIP,
  }
}

/** setpriv arguments: what a container runtime would leave to the process. */
function privileges(pod: PodObject, container: Container): string[] {
  const context = { ...pod.spec.securityContext, ...container.securityContext }
  const user = context.runAsUser ?? 0
  const group = context.runAsGroup ?? user
  const identity = [`--reuid=${user}`, `--regid=${group}`, '--clear-groups']
  if (context.privileged === true) return identity
  const drop = new Set((context.capabilities?.drop ?? []).map(capabilityName))
  const kept = drop.has('all')
    ? []
    : defaultCapabilities.filter((name) => !drop.has(name))
  const added = (context.capabilities?.add ?? []).map(capabilityName)
  const set = ['-all', ...[...kept, ...added].map((name) => `+${name}`)]
  return [...identity, `--bounding-set=${set.join(',')}`, '--inh-caps=-all']
}

function capabilityName(name: string): string {
  return name.toLowerCase().replace(/^cap_/, '')
}
