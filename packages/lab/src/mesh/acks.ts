// SPDX-License-Identifier: Apache-2.0
// Reads the operator's GET /debug/status: who has acknowledged what. Pure.

/** One subscriber in the operator's status. */
interface Subscriber {
  readonly node: string
  readonly role: string
  readonly ackedVersion: number | string
  readonly error?: string
}

interface OperatorStatus {
  readonly version: number | string
  readonly subscribers: readonly Subscriber[]
}

/** Acknowledgements of one node, as people read them. */
export interface NodeAcks {
  readonly node: string
  readonly agentVersion?: string
  readonly proxyVersion?: string
  /** Why this node is not up to date; empty when it is. */
  readonly problems: readonly string[]
}

export interface Acks {
  readonly version: string
  readonly nodes: readonly NodeAcks[]
}

/** Status by node, for exactly these nodes. */
export function acknowledgements(status: unknown, nodes: readonly string[]): Acks {
  const { version, subscribers = [] } = status as Partial<OperatorStatus>
  const latest = String(version ?? '')
  return {
    version: latest,
    nodes: nodes.map((node) => {
      const of = (role: string): Subscriber | undefined =>
        subscribers.find(
          (one) => one.node === node && one.role.toLowerCase().endsWith(role),
        )
      const agent = of('agent')
      const proxy = of('proxy')
      return {
        node,
        ...(agent === undefined ? {} : { agentVersion: String(agent.ackedVersion) }),
        ...(proxy === undefined ? {} : { proxyVersion: String(proxy.ackedVersion) }),
        problems: [
          ...problemsOf(`${node}'s agent`, agent, latest),
          ...problemsOf(`${node}'s proxy`, proxy, latest),
        ],
      }
    }),
  }
}

function problemsOf(
  who: string,
  subscriber: Subscriber | undefined,
  latest: string,
): string[] {
  if (subscriber === undefined) return [`${who} is not connected to the operator`]
  const { error, ackedVersion } = subscriber
  if (error !== undefined && error !== '')
    return [`${who} refuses the configuration: ${error}`]
  if (String(ackedVersion) === latest) return []
  return [`${who} acknowledged version ${ackedVersion} of ${latest}`]
}

/** Why nodes are not up to date, one line each; empty when every agent and proxy acknowledged the latest version. */
export function unacknowledged(status: unknown, nodes: readonly string[]): string[] {
  return acknowledgements(status, nodes).nodes.flatMap(({ problems }) => problems)
}
