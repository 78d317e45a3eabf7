// SPDX-License-Identifier: Apache-2.0
// A behaviour that Kubernetes' own tests name, in a few words: policies on pod x/a or its namespace, and who may then reach whom.
import type { Cluster, Labels, Pod } from './cluster.ts'
import type { KubeObject } from '../../../packages/lab/src/index.ts'

export type Connection = {
  /** "x/a" */
  readonly from: string
  readonly to: string
  readonly protocol: 'TCP' | 'UDP'
  readonly port: number
}

export interface Stage {
  readonly policies: readonly KubeObject[] | ((cluster: Cluster) => KubeObject[])
  readonly allowed: (connection: Connection) => boolean
  /** Added to the labels of a namespace ("y") or a pod ("x/b"). */
  readonly labels?: Readonly<Record<string, Labels>>
}

export interface Behaviour {
  readonly name: string
  readonly stages: readonly Stage[]
}

interface Spec {
  readonly name?: string
  readonly namespace?: string
  /** Labels of the pods that it selects; default pod=a. Empty: every pod. */
  readonly selects?: Labels
  /** Rules; absent: this direction is not restricted. */
  readonly ingress?: readonly object[]
  readonly egress?: readonly object[]
}

export function policy(spec: Spec): KubeObject {
  const { name = 'p', namespace = 'x', selects = { pod: 'a' }, ingress, egress } = spec
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace },
    spec: {
      podSelector: { matchLabels: selects },
      policyTypes: [...(ingress ? ['Ingress'] : []), ...(egress ? ['Egress'] : [])],
      ...(ingress && { ingress }),
      ...(egress && { egress }),
    },
  } as KubeObject
}

export const pods = (labels: Labels): object => ({ podSelector: { matchLabels: labels } })
export const namespaces = (labels: Labels): object => ({
  namespaceSelector: { matchLabels: labels },
})
export const inExpression = (key: string, ...values: string[]): object => ({
  matchExpressions: [{ key, operator: 'In', values }],
})
export const notIn = (key: string, ...values: string[]): object => ({
  matchExpressions: [{ key, operator: 'NotIn', values }],
})
export const port = (number: number | string, protocol = 'TCP'): object => ({
  ...{ protocol, port: number },
})
/** Names are to resolve: asking the DNS server is not what is tested. */
export const dns = {
  to: [namespaces({ 'kubernetes.io/metadata.name': 'kube-system' })],
  ports: [port(53, 'UDP'), port(53)],
}
export const block = (cidr: string, ...except: string[]): object => ({
  ipBlock: { cidr, ...(except.length > 0 && { except }) },
})

export const namespaceOf = (pod: string): string => pod.split('/')[0] ?? ''
export const isA = ({ to }: Connection): boolean => to === 'x/a'
export const fromA = ({ from }: Connection): boolean => from === 'x/a'

/** Only these reach x/a; nothing else is restricted. */
export const onlyFrom =
  (...names: string[]) =>
  (c: Connection): boolean =>
    !isA(c) || names.includes(c.from) || names.includes(namespaceOf(c.from))

/** x/a reaches only these; nothing else is restricted. */
export const onlyTo =
  (...names: string[]) =>
  (c: Connection): boolean =>
    !fromA(c) || names.includes(c.to) || names.includes(namespaceOf(c.to))

export const everything = (): boolean => true

/** One stage. */
export function behaviour(
  name: string,
  policies: Stage['policies'],
  allowed: Stage['allowed'],
): Behaviour {
  return { name, stages: [{ policies, allowed }] }
}

export function addressOf(cluster: Cluster, name: string): string {
  const found = cluster.pods.find((pod) => nameOf(pod) === name)
  if (found === undefined) throw new Error(`no pod ${name}`)
  return found.address
}

export const nameOf = ({ namespace, name }: Pod): string => `${namespace}/${name}`
