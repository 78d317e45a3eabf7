// SPDX-License-Identifier: Apache-2.0
// What people write for the two ends of a connection: ns/pod, ns/service, the beginning of a pod's name, an address.
// Pure.
import { isIP } from 'node:net'
import { LabError, type KubeObject, type PodObject } from '@pillion/lab'

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

/** The pod that `text` means, or undefined when it means none. Throws a LabError when it means several. */
export function findPodObject(
  pods: readonly PodObject[],
  text: string,
): PodObject | undefined {
  if (isIP(text) !== 0) return pods.find((pod) => addressesOf(pod).includes(text))
  const [namespace = 'default', name = ''] = text.includes('/')
    ? text.split('/')
    : ['default', text]
  const here = pods.filter(({ metadata }) => metadata.namespace === namespace)
  const exact = here.find(({ metadata }) => metadata.name === name)
  if (exact !== undefined) return exact
  const prefixed = here.filter(({ metadata }) => metadata.name.startsWith(`${name}-`))
  // Any pod of one owner explains the same.
  const owners = new Set(
    prefixed.map(({ metadata }) => metadata.ownerReferences?.[0]?.name),
  )
  if (owners.size > 1) {
    const names = prefixed.map(({ metadata }) => metadata.name).join(', ')
    throw new LabError('ambiguous', `"${text}" may be ${names}`)
  }
  return prefixed[0]
}

function addressesOf(pod: PodObject): string[] {
  const { podIPs = [] } = (pod.status ?? {}) as { podIPs?: { ip: string }[] }
  return podIPs.map(({ ip }) => ip)
}

/** The name that the agent knows a destination by: a Service of that name first, then a pod, else as written. */
export function canonical(
  peer: Peer,
  services: readonly KubeObject[],
  pods: readonly PodObject[],
): string {
  const name =
    peer.host.includes('/') || isIP(peer.host) !== 0 ? peer.host : `default/${peer.host}`
  const isService = services.some(
    ({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}` === name,
  )
  if (isService || isIP(peer.host) !== 0) return formatPeer({ ...peer, host: name })
  const pod = findPodObject(pods, peer.host)
  if (pod === undefined)
    throw new LabError('not-found', `there is no service or pod ${name}`)
  return formatPeer({
    ...peer,
    host: `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`,
  })
}
