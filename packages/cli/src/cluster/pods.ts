// SPDX-License-Identifier: Apache-2.0
// Pods of the installation, found by their service accounts, and where the admin sockets in them are. Pure but for listing.
import { collection, listPath, type ApiObject } from './objects.ts'
import type { Installation } from './connect.ts'

interface Container {
  readonly name: string
  readonly image?: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
}

interface ContainerStatus {
  readonly name: string
  readonly ready: boolean
  readonly restartCount: number
  readonly state?: { readonly waiting?: { reason?: string; message?: string } }
}

export interface Pod extends ApiObject {
  readonly spec: {
    readonly nodeName?: string
    readonly serviceAccountName?: string
    readonly containers: readonly Container[]
    readonly [field: string]: unknown
  }
  readonly status?: {
    readonly phase?: string
    readonly containerStatuses?: readonly ContainerStatus[]
    readonly [field: string]: unknown
  }
}

/** The processes that can be asked. */
export type Role = 'operator' | 'agent' | 'proxy'

/** Service account that each runs as: the name by which the operator itself knows the nodes. */
export const serviceAccounts = { operator: 'pillion-operator', node: 'pillion-node' }

export interface InstalledPods {
  readonly operator: readonly Pod[]
  readonly node: readonly Pod[]
}

/** Pods of the installation that are not on their way out. */
export async function installedPods({
  cluster,
  namespace,
}: Installation): Promise<InstalledPods> {
  const path = collection('v1', 'pods', namespace)
  const pods = (await listPath(cluster, path)) as unknown as Pod[]
  const of = (account: string) =>
    pods.filter(
      ({ spec, metadata }) =>
        spec.serviceAccountName === account && metadata.deletionTimestamp === undefined,
    )
  return { operator: of(serviceAccounts.operator), node: of(serviceAccounts.node) }
}

/** The container that runs a process: the one that is named so, or the only one with its socket, or the only one. */
export function containerOf({ spec }: Pod, role: Role): Container | undefined {
  const { containers } = spec
  return (
    containers.find(({ name }) => name === role || name === `pillion-${role}`) ??
    containers.find((each) => setting(each, role, 'admin-socket') !== undefined) ??
    (role !== 'proxy' && containers.length === 1 ? containers[0] : undefined)
  )
}

export function isReady(pod: Pod, container: string): boolean {
  return (
    pod.status?.containerStatuses?.some(
      ({ name, ready }) => name === container && ready,
    ) ?? false
  )
}

/** The admin socket of a process, as its own command line or environment says. */
export function adminSocketOf(container: Container, role: Role): string {
  return setting(container, role, 'admin-socket') ?? `/run/pillion/${role}.sock`
}

/** Node.js in the container: as its own command line calls it, else where our images have it. */
export function nodeOf({ command = [], args = [] }: Container): string {
  return (
    [...command, ...args].find((word) => /(^|\/)node$/.test(word)) ??
    '/usr/local/bin/node'
  )
}

function setting(
  { command = [], args = [], env = [] }: Container,
  role: Role,
  flag: string,
): string | undefined {
  const words = [...command, ...args]
  const at = words.indexOf(`--${flag}`)
  if (at !== -1) return words[at + 1]
  const inline = words.find((word) => word.startsWith(`--${flag}=`))
  if (inline !== undefined) return inline.slice(flag.length + 3)
  const variable = `PILLION_${role.toUpperCase()}_${flag.toUpperCase().replaceAll('-', '_')}`
  return env.find(({ name }) => name === variable)?.value
}

/** Why a pod does not run, in words; empty when nothing is known. */
export function troublesOf(pod: Pod): string[] {
  return (pod.status?.containerStatuses ?? []).flatMap(
    ({ name, state, restartCount }) => {
      const { reason, message } = state?.waiting ?? {}
      const where = `pod ${pod.metadata.name}, container ${name}`
      if (reason !== undefined && reason !== 'ContainerCreating')
        return [`${where}: ${reason}${message === undefined ? '' : ` (${message})`}`]
      return restartCount > 2 ? [`${where}: restarted ${restartCount} times`] : []
    },
  )
}
