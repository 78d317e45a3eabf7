// SPDX-License-Identifier: Apache-2.0
// Network namespaces as lines of `ip -batch`. Pure; apply.ts runs them. One process a namespace instead of one a command:
// thirty pods come up in well under a second.
import { fabricNetns, podLink, type NodeInfo } from './addresses.ts'

/** Lines by network namespace; '' is the namespace of the caller. Order matters, as given. */
export type NetPlan = { readonly netns: string; readonly lines: readonly string[] }[]

export interface PodLink {
  readonly uid: string
  readonly netns: string
  readonly addresses: readonly [string, string]
}

const bridge = 'type bridge forward_delay 0 mcast_snooping 0'

/** Fabric and nodes. */
export function planNodes(nodes: readonly NodeInfo[]): NetPlan {
  return [
    {
      netns: '',
      lines: [
        `netns add ${fabricNetns}`,
        ...nodes.map((node) => `netns add ${node.netns}`),
        ...nodes.map(
          (node) =>
            `link add name fabric0 netns ${node.netns} type veth peer name ${node.name} netns ${fabricNetns}`,
        ),
      ],
    },
    {
      netns: fabricNetns,
      lines: [
        `link add name br0 ${bridge}`,
        'link set lo up',
        'link set br0 up',
        ...nodes.map((node) => `link set ${node.name} master br0 up`),
      ],
    },
    ...nodes.map((node) => ({ netns: node.netns, lines: planNode(node, nodes) })),
  ]
}

function planNode(node: NodeInfo, nodes: readonly NodeInfo[]): string[] {
  const others = nodes.filter((other) => other !== node)
  return [
    'link set lo up',
    // A bridge without an address of its own has the lowest of its ports: with each pod that comes or goes it may be
    // another, and all pods of the node send to the one before until their neighbour entries have ended.
    `link add name br0 address 02:00:00:00:00:0${node.number} ${bridge}`,
    'link set br0 up',
    'link set fabric0 up',
    `addr add ${node.gateways[0]}/24 dev br0`,
    `addr add ${node.gateways[1]}/64 dev br0 nodad`,
    `addr add ${node.addresses[0]}/24 dev fabric0`,
    `addr add ${node.addresses[1]}/64 dev fabric0 nodad`,
    ...others.flatMap((other) => [
      `route add ${other.podRanges[0]} via ${other.addresses[0]}`,
      `-6 route add ${other.podRanges[1]} via ${other.addresses[1]}`,
    ]),
  ]
}

/** Pods of one node, all at once. */
export function planPods(node: NodeInfo, pods: readonly PodLink[]): NetPlan {
  return [
    {
      netns: '',
      lines: [
        ...pods.map((pod) => `netns add ${pod.netns}`),
        ...pods.map(
          (pod) =>
            `link add name eth0 netns ${pod.netns} type veth peer name ${podLink(pod.uid)} netns ${node.netns}`,
        ),
      ],
    },
    {
      netns: node.netns,
      lines: pods.map((pod) => `link set ${podLink(pod.uid)} master br0 up`),
    },
    ...pods.map((pod) => ({
      netns: pod.netns,
      lines: [
        'link set lo up',
        'link set eth0 up',
        `addr add ${pod.addresses[0]}/24 dev eth0`,
        `addr add ${pod.addresses[1]}/64 dev eth0 nodad`,
        `route add default via ${node.gateways[0]}`,
        `-6 route add default via ${node.gateways[1]}`,
      ],
    })),
  ]
}
