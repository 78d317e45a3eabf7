// SPDX-License-Identifier: Apache-2.0
// Who has which address. Pure: the layout of design 7, from node number and host number.
import { createHash } from 'node:crypto'
import { LabError } from '../errors.ts'

/** Nodes of one lab; the number is one decimal group of the addresses. */
export const maxNodes = 9
/** First and last host number of pods: .1 is the gateway, .255 broadcast. */
const firstPod = 2
const lastPod = 254

export interface NodeInfo {
  readonly name: string
  readonly number: number
  readonly netns: string
  /** The node's own addresses on the fabric, IPv4 first. */
  readonly addresses: readonly [string, string]
  /** The bridge's addresses: the pods' gateways and the source of probes. */
  readonly gateways: readonly [string, string]
  readonly podRanges: readonly [string, string]
}

export const fabricNetns = 'pillion-fabric'

/** Node number 1 … 9. */
export function nodeInfo(number: number): NodeInfo {
  return {
    name: `node-${number}`,
    number,
    netns: `pillion-node-${number}`,
    addresses: [`10.245.0.${number}`, `fd00:10:245::${number}`],
    gateways: [`10.244.${number}.1`, `fd00:10:244:${number}::1`],
    podRanges: [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`],
  }
}

/** Matches exactly the network namespaces that a lab makes. */
export const labNetns = /^pillion-(fabric|node-\d+(-.+)?)$/

/** Name of a pod's network namespace: readable, at most 63 characters, unique through the uid's hash where cut. */
export function podNetns(node: NodeInfo, namespace: string, name: string): string {
  const full = `${node.netns}-${namespace}-${name}`
  return full.length <= 63 ? full : `${full.slice(0, 54)}-${hash(full, 8)}`
}

/** Name of the node's end of a pod's veth (15 characters at most). */
export function podLink(uid: string): string {
  return `p${hash(uid, 10)}`
}

function hash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length)
}

/** Hands out pod addresses of one node; a freed address is the last to be used again. */
export class PodAddresses {
  readonly #node: NodeInfo
  readonly #used = new Set<number>()
  #next = firstPod

  constructor(node: NodeInfo) {
    this.#node = node
  }

  /** IPv4 and IPv6 of a new pod. Throws a LabError when the node is full. */
  allocate(): [string, string] {
    for (let tried = firstPod; tried <= lastPod; tried++) {
      const host = this.#next
      this.#next = host === lastPod ? firstPod : host + 1
      if (this.#used.has(host)) continue
      this.#used.add(host)
      const n = this.#node.number
      return [`10.244.${n}.${host}`, `fd00:10:244:${n}::${host}`]
    }
    throw new LabError(
      'host',
      `${this.#node.name} has no free pod address (${lastPod - firstPod + 1} pods at most); use more nodes`,
    )
  }

  release([ipv4]: readonly [string, string]): void {
    this.#used.delete(Number(ipv4.slice(ipv4.lastIndexOf('.') + 1)))
  }
}
