// SPDX-License-Identifier: Apache-2.0
// Rows of tables from the operator's /debug/config. Pure. Enums are the contract's.
import {
  Action,
  compileRequestPolicy,
  FailureMode,
  L7Protocol,
  MatchKind,
  type Endpoint,
  type Identity,
  judgedBit,
  type L7Policy,
  type RequestRule,
  type RouteTable,
  type Rule,
  type ServicePort,
  type StringMatch,
  type SubjectPolicy,
  withoutJudged,
  type Workload,
} from '@pillion/contract'
import { requestTexts } from './requests.ts'

/** Resources as JSON has them: records, and addresses as text. */
export type Resources = Readonly<Record<string, object | undefined>>

export interface Rows {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

function entries<T>(resources: Resources, kind: string): [string, T][] {
  const found = (resources[kind] ?? {}) as Record<string, T>
  return Object.entries(found).sort(([a], [b]) => a.localeCompare(b))
}

const l7Names: Readonly<Partial<Record<number, string>>> = {
  [L7Protocol.HTTP]: 'http',
  [L7Protocol.HTTP2]: 'http2',
  [L7Protocol.GRPC]: 'grpc',
}
const failureNames: Readonly<Partial<Record<number, string>>> = {
  [FailureMode.BYPASS]: 'Bypass',
  [FailureMode.REJECT]: 'Reject',
}

/** "http", or undefined for a service that rides in the kernel. */
export function l7Name(protocol: number): string | undefined {
  return l7Names[protocol]
}

export function failureName(mode: number): string {
  return failureNames[mode] ?? '-'
}

export function serviceRows(resources: Resources): Rows {
  const counts = new Map<number, { ready: number; all: number }>()
  for (const [, { serviceId, ready }] of entries<Endpoint>(resources, 'endpoint')) {
    const count = counts.get(serviceId) ?? { ready: 0, all: 0 }
    counts.set(serviceId, {
      ready: count.ready + (ready ? 1 : 0),
      all: count.all + 1,
    })
  }
  const rows = entries<ServicePort>(resources, 'servicePort').map(([name, port]) => {
    const protocol = l7Name(port.l7Protocol)
    const { ready, all } = counts.get(port.id) ?? { ready: 0, all: 0 }
    return [
      name,
      (port.addresses as unknown as string[]).join(', '),
      protocol === undefined ? 'kernel' : `proxy (${protocol})`,
      protocol === undefined ? '-' : failureName(port.failureMode),
      `${ready}/${all}`,
    ]
  })
  return { head: ['SERVICE', 'ADDRESSES', 'CARRIED-BY', 'FAILURE-MODE', 'READY'], rows }
}

export function routeRows(resources: Resources): Rows {
  const ports = new Map(
    entries<ServicePort>(resources, 'servicePort').map(([name, { id }]) => [id, name]),
  )
  const rows = entries<RouteTable>(resources, 'routeTable').flatMap(([name, table]) => {
    const service = ports.get(table.serviceId) ?? name
    if (table.rules.length === 0) return [[service, '-', 'any request', 'the service']]
    return table.rules.map((rule) => [
      service,
      `${rule.routeKind} ${rule.routeNamespace}/${rule.routeName}`,
      matchText(rule.match),
      rule.backends
        .map(
          ({ servicePort, serviceId, weight }) =>
            `${servicePort || (ports.get(serviceId) ?? '?')}${rule.backends.length > 1 ? ` (${weight})` : ''}`,
        )
        .join(', ') || '-',
    ])
  })
  return { head: ['SERVICE', 'ROUTE', 'MATCH', 'BACKENDS'], rows }
}

type Match = RouteTable['rules'][number]['match']

function matchText(match: Match): string {
  if (match === undefined) return 'any request'
  const { path, method, headers, query } = match
  const parts = [
    ...(method === '' ? [] : [method]),
    ...(path === undefined ? [] : [pathText(path)]),
    // Values of headers may be credentials: -o json has them.
    ...headers.map(({ name }) => `header ${name}`),
    ...query.map(({ name }) => `query ${name}`),
  ]
  return parts.join(' ') || 'any request'
}

/** "/exact", "/prefix*", "~expression". */
function pathText({ kind, value }: StringMatch): string {
  if (kind === MatchKind.REGULAR_EXPRESSION) return `~${value}`
  return kind === MatchKind.PATH_PREFIX ? `${value}*` : value
}

type Direction = SubjectPolicy['ingress']

export function policyRows(resources: Resources): Rows {
  const identities = new Map(
    entries<Identity>(resources, 'identity').map(([, each]) => [each.id, nameOf(each)]),
  )
  const rules = new Map(
    entries<Rule>(resources, 'rule').map(([, { id, text }]) => [id, text]),
  )
  const shadows = new Set(
    entries<Rule>(resources, 'rule').flatMap(([, { id, shadow }]) =>
      shadow ? [id] : [],
    ),
  )
  // Its shadow is a direction with all that is in force as well, which has rows of its own.
  const watched = (policy: Direction): Direction =>
    policy && {
      ...policy,
      isolated: policy.isolated && shadows.has(policy.isolationRule),
      entries: policy.entries.filter(({ rule }) => shadows.has(rule)),
    }
  const named = (id: number): string =>
    id === 0 ? 'anyone' : (identities.get(id) ?? `identity ${id}`)
  // Whose requests a proxy has let through has a number of its own; as a subject it says what the caller's says.
  const who = (id: number): string =>
    id >= judgedBit ? `${named(withoutJudged(id))}, by its proxy` : named(id)
  const subjects = entries<SubjectPolicy>(resources, 'subjectPolicy').filter(
    ([, { identity }]) => identity < judgedBit,
  )
  const connections = subjects.flatMap(
    ([, { identity, ingress, egress, shadowIngress, shadowEgress }]) =>
      [
        { name: 'ingress', policy: ingress },
        { name: 'egress', policy: egress },
        { name: 'shadow ingress', policy: watched(shadowIngress) },
        { name: 'shadow egress', policy: watched(shadowEgress) },
      ].flatMap(({ name, policy }) => {
        if (policy === undefined) return []
        const listed = policy.entries.map((entry) => [
          who(identity),
          name,
          entry.action === Action.DENY ? 'deny' : 'allow',
          who(entry.peer),
          portText(entry),
          '-',
          rules.get(entry.rule) ?? '-',
        ])
        const rest = [who(identity), name, 'deny', 'anyone else', 'any', '-']
        const because = rules.get(policy.isolationRule) ?? '-'
        return policy.isolated ? [...listed, [...rest, because]] : listed
      }),
  )
  const requests = entries<L7Policy>(resources, 'l7Policy').flatMap(([, message]) => {
    const { denials, permissions } = compileRequestPolicy(message)
    return [...denials, ...permissions]
      .filter(({ http }) => http.length > 0)
      .flatMap((rule) => requestRows(who(message.identity), rule, who))
  })
  const head = ['SUBJECT', 'DIRECTION', 'ACTION', 'PEER', 'PORT', 'REQUEST', 'RULE']
  return { head, rows: [...connections, ...requests] }
}

/** What the proxy asks: a row for each caller and each condition, of which one must hold. */
function requestRows(
  subject: string,
  rule: RequestRule,
  who: (identity: number) => string,
): string[][] {
  const { deny, shadow, peers, ports, text } = rule
  const direction = shadow ? 'shadow requests' : 'requests'
  const range = ports.map(({ first, last }) =>
    first === last ? `${first}` : `${first}-${last}`,
  )
  const port = ports.length === 0 ? 'any' : `${range.join(', ')}/TCP`
  return [...(peers ?? [0])].flatMap((peer) =>
    requestTexts(rule).map((request) => [
      ...[subject, direction, deny ? 'deny' : 'allow', who(peer)],
      ...[port, request, text],
    ]),
  )
}

type PolicyEntry = NonNullable<SubjectPolicy['ingress']>['entries'][number]

const protocols: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' }

/** Ports of an entry are a prefix of 16 bits. */
function portText({ protocol, port, portBits }: PolicyEntry): string {
  const last = port + 2 ** (16 - portBits) - 1
  const ports = portBits === 0 ? '' : last === port ? `${port}` : `${port}-${last}`
  const name = protocol === 0 ? '' : (protocols[protocol] ?? `protocol ${protocol}`)
  return [ports, name].filter(Boolean).join('/') || 'any'
}

export function identityRows(resources: Resources): Rows {
  const local = new Map<number, number>()
  for (const [, { identity }] of entries<Workload>(resources, 'workload'))
    local.set(identity, (local.get(identity) ?? 0) + 1)
  const rows = entries<Identity>(resources, 'identity')
    .sort(([, a], [, b]) => a.id - b.id)
    .map(([, each]) => [
      String(each.id),
      each.namespace || '-',
      each.serviceAccount || '-',
      Object.entries(each.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(',') || '-',
      String(local.get(each.id) ?? 0),
    ])
  return { head: ['ID', 'NAMESPACE', 'SERVICE-ACCOUNT', 'LABELS', 'PODS-HERE'], rows }
}

function nameOf({ id, namespace, serviceAccount, labels }: Identity): string {
  if (namespace === '') return `identity ${id}`
  const app = labels['app.kubernetes.io/name'] ?? labels['app'] ?? serviceAccount
  return `${namespace}/${app} (${id})`
}
