// SPDX-License-Identifier: Apache-2.0
// Reads the operator's GET /debug/status: who has acknowledged what. Pure.
import type { ObjectStatus, SubscriberStatus } from '@pillion/operator'

/** The part of /debug/status that is read here. */
export interface OperatorStatus {
  readonly version: number
  /** One for every agent and proxy that ever subscribed. */
  readonly nodes: readonly Partial<SubscriberStatus>[]
  /** What it says of each object. */
  readonly objects?: readonly ObjectStatus[]
  /** What the operator refused of the source. */
  readonly errors?: readonly { text: string }[]
}

/** Acknowledgements of one node, as people read them. */
export interface NodeAcks {
  readonly node: string
  readonly agentVersion?: number
  readonly proxyVersion?: number
  /** Why this node is not up to date; empty when it is. */
  readonly problems: readonly string[]
}

/** Status by node, for exactly these nodes. */
export function acknowledgements(
  status: OperatorStatus,
  nodes: readonly string[],
): NodeAcks[] {
  return nodes.map((node) => {
    const of = (role: string) =>
      status.nodes.find((one) => one.node === node && one.role === role)
    const agentVersion = of('agent')?.ackedVersion
    const proxyVersion = of('proxy')?.ackedVersion
    return {
      node,
      ...(agentVersion === undefined ? {} : { agentVersion }),
      ...(proxyVersion === undefined ? {} : { proxyVersion }),
      problems: [
        ...problemsOf(`${node}'s agent`, of('agent'), status.version),
        ...problemsOf(`${node}'s proxy`, of('proxy'), status.version),
      ],
    }
  })
}

function problemsOf(
  who: string,
  subscriber: Partial<SubscriberStatus> | undefined,
  latest: number,
): string[] {
  if (subscriber?.connected !== true) return [`${who} is not connected to the operator`]
  const { current, nack, ackedVersion = 0 } = subscriber
  if (current === true) return []
  if (nack !== undefined && nack.version > ackedVersion) {
    return [`${who} refuses the configuration: ${nack.reason}`]
  }
  return [`${who} acknowledged version ${ackedVersion} of ${latest}`]
}

/** Why nodes are not up to date, one line each; empty when every agent and proxy has the latest version. */
export function unacknowledged(
  status: OperatorStatus,
  nodes: readonly string[],
): string[] {
  return [
    ...acknowledgements(status, nodes).flatMap(({ problems }) => problems),
    ...(status.errors ?? []).map(({ text }) => `the operator refuses ${text}`),
  ]
}
