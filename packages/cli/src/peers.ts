// SPDX-License-Identifier: Apache-2.0
// What people write for the two ends of a connection: ns/pod, ns/service, the beginning of a pod's name, an address.
// Pure.
import { isIP } from 'node:net'
import { LabError, type PodObject } from '@pillion/lab'

/** A peer as written, with its port apart: "shop/web:80", "10.96.0.10:53", "[fd00::1]:80". */
export interface Peer {
  readonly host: string
  readonly port?: number
}

/** Splits the port off. Throws a LabError when it is none. */
export function parsePeer(text: string): Peer {
  const bracketed = /^\[(.+)\](?::(.+))?$/.exec(text)
  const plain = isIP(text) === 6 ? null : /^([^:]+)(?::(.+))?$/.exec(text)
  const [, host, port] = bracketed ?? plain ?? [undefined, text, undefined]
  if (host === undefined) throw new LabError('usage', `"${text}" is no peer`)
  if (port === undefined) return { host }
  const number = Number(port)
  if (!Number.isInteger(number) || number < 1 || number > 65_535) {
    throw new LabError('usage', `"${text}": ${port} is no port`)
  }
  return { host, port: number }
}

export function formatPeer({ host, port }: Peer): string {
  const name = isIP(host) === 6 ? `[${host}]` : host
  return port === undefined ? name : `${name}:${port}`
}

/** A peer as written, with the namespace that it is in: so that a message says where was looked. */
export function named(host: string): string {
  return isIP(host) !== 0 || host.includes('/') ? host : `default/${host}`
}

/** The namespace that a peer as written is in ("default" when it says none); undefined: an address may be in any. */
export function namespaceOf(host: string): string | undefined {
  if (isIP(host) !== 0) return undefined
  return host.includes('/') ? host.split('/')[0] : 'default'
}

/** The pod that `text` means, or undefined when it means none. Throws a LabError when it means several. */
export function findPodObject(
  pods: readonly PodObject[],
  text: string,
): PodObject | undefined {
  // The address of a pod that has ended may be another's now.
  if (isIP(text) !== 0) return pods.filter(isLive).find((pod) => hasAddress(pod, text))
  const [namespace = 'default', name = ''] = text.includes('/')
    ? text.split('/')
    : ['default', text]
  const here = pods.filter(({ metadata }) => metadata.namespace === namespace)
  const exact = here.find(({ metadata }) => metadata.name === name)
  if (exact !== undefined) return exact
  const prefixed = here.filter(
    (pod) => isLive(pod) && pod.metadata.name.startsWith(`${name}-`),
  )
  // Any pod of one owner explains the same.
  if (new Set(prefixed.map(ownerOf)).size > 1) {
    const names = prefixed.map(({ metadata }) => metadata.name).join(', ')
    throw new LabError('ambiguous', `"${text}" may be ${names}`)
  }
  return prefixed.toSorted(newestFirst)[0]
}

function newestFirst(a: PodObject, b: PodObject): number {
  const at = ({ metadata }: PodObject) => metadata.creationTimestamp ?? ''
  return at(b).localeCompare(at(a))
}

/** What made the pod; during a roll-out a Deployment has two ReplicaSets, so the hash of the template is no part of it. */
function ownerOf({ metadata }: PodObject): string | undefined {
  const owner = metadata.ownerReferences?.[0]?.name
  const hash = metadata.labels?.['pod-template-hash']
  return hash === undefined ? owner : owner?.replace(new RegExp(`-${hash}$`), '')
}

function isLive({ metadata, status }: PodObject): boolean {
  const { phase } = (status ?? {}) as { phase?: string }
  const ended = phase === 'Succeeded' || phase === 'Failed'
  return !ended && metadata.deletionTimestamp === undefined
}

function hasAddress({ spec, status }: PodObject, address: string): boolean {
  const { podIPs = [] } = (status ?? {}) as { podIPs?: { ip: string }[] }
  // A pod in the node's network has the node's address, as others do.
  return spec.hostNetwork !== true && podIPs.some(({ ip }) => ip === address)
}

/** The name that the agent knows a destination by: a Service of that name first, then a pod, else as written. */
export function canonical(
  peer: Peer,
  services: ReadonlySet<string>,
  pods: readonly PodObject[],
): string {
  const name = named(peer.host)
  if (services.has(name) || isIP(peer.host) !== 0)
    return formatPeer({ ...peer, host: name })
  const pod = findPodObject(pods, peer.host)
  if (pod === undefined)
    throw new LabError('not-found', `there is no service or pod ${name}`)
  return formatPeer({
    ...peer,
    host: `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`,
  })
}
