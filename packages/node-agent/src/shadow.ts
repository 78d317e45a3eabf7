// SPDX-License-Identifier: Apache-2.0
// What policies in Shadow mode would have denied: the kernel's sums with names, and the same question for explanations.
import { reservedName } from '@pillion/contract'
import {
  Direction,
  judge,
  passesIngress,
  type Judgement,
  type PolicyTables,
  type Shadow,
  type ShadowKey,
} from '@pillion/ebpf-l4'
import { Gauge, type Registry } from 'prom-client'
import { protocolText, type Attempt } from './almost.ts'
import type { Names } from './names.ts'

/** One sum of pl_shadow. */
export interface ShadowEntry {
  readonly key: ShadowKey
  readonly value: Shadow
}

/** Who shares an identity, as far as this node knows. */
export interface ShadowEnd {
  readonly identity: number
  /** Empty: not one namespace's, or not known. */
  readonly namespace: string
  /** Empty: several workloads, or not known here. */
  readonly workload: string
  /** For people: "shop/web", "world", or the labels. */
  readonly name: string
}

/** Connections (UDP: datagrams) that a rule would have denied. */
export interface ShadowRow {
  /** "AccessPolicy shop/api rules[0]"; the policy itself where it allows nothing of the kind. */
  readonly rule: string
  /** Whose policy: the destination's (ingress) or the source's. */
  readonly direction: 'ingress' | 'egress'
  readonly source: ShadowEnd
  readonly destination: ShadowEnd
  /** Of the destination. */
  readonly port: number
  readonly protocol: string
  readonly count: number
  /** RFC 3339, milliseconds. */
  readonly lastTime: string
}

export interface ShadowPolicy {
  /** "AccessPolicy shop/api". */
  readonly policy: string
  /** Most often first; empty: nothing would have been denied on this node. */
  readonly rows: readonly ShadowRow[]
}

/** Policies that have a metric of their own. With more, only the sum over all is exported, by COUNTER_SHADOW_DENY. */
export const maxShadowMetrics = 100

/**
 * /debug/shadow: every policy that is in Shadow mode now, by name, with what it would have denied. What was counted for one
 * that is enforced by now, or gone, is left out.
 */
export function shadowPolicies(
  entries: readonly ShadowEntry[],
  names: Names,
  clockOffsetMs: number,
): ShadowPolicy[] {
  const rows = new Map<string, ShadowRow[]>()
  for (const { text, shadow } of names.resources.rule.values())
    if (shadow === true) rows.set(policyOf(text), [])
  for (const entry of entries) {
    const rule = names.resources.rule.get(String(entry.key.rule))
    if (rule?.shadow !== true) continue
    rows.get(policyOf(rule.text))?.push(rowOf(entry, rule.text, names, clockOffsetMs))
  }
  return [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([policy, found]) => ({
      policy,
      rows: found.sort((a, b) => b.count - a.count),
    }))
}

/** "AccessPolicy shop/api" of "AccessPolicy shop/api rules[0]". */
function policyOf(text: string): string {
  return text.split(' ', 2).join(' ')
}

function rowOf(
  { key, value }: ShadowEntry,
  rule: string,
  names: Names,
  clockOffsetMs: number,
): ShadowRow {
  const isEgress = (key.direction as Direction) === Direction.DIRECTION_EGRESS
  return {
    rule,
    direction: isEgress ? 'egress' : 'ingress',
    source: endOf(key.srcIdentity, names),
    destination: endOf(key.dstIdentity, names),
    port: key.port,
    protocol: protocolText(key.protocol),
    count: Number(value.count),
    lastTime: new Date(Number(value.lastNs) / 1e6 + clockOffsetMs).toISOString(),
  }
}

function endOf(identity: number, names: Names): ShadowEnd {
  const { namespace, workload } = names.group(identity)
  const known = workload === '' ? reservedName(identity) : `${namespace}/${workload}`
  return { identity, namespace, workload, name: known ?? names.identity(identity) }
}

/**
 * The policy in Shadow mode that would deny what those in force allow, as the kernel asks (bpf/include/pillion/shadow.h);
 * undefined: none would. `direction` is one of the shadow directions.
 */
export function shadowDenial(
  tables: PolicyTables,
  { src, dst, protocol, port }: Attempt,
): Judgement | undefined {
  const direction = Direction.DIRECTION_SHADOW_EGRESS
  const egress = judge(tables, { subject: src, peer: dst, direction, protocol, port })
  if (!egress.allowed) return egress
  if (passesIngress(src)) return undefined
  const ingress = judge(tables, {
    ...{ subject: dst, peer: src, direction: Direction.DIRECTION_SHADOW_INGRESS },
    ...{ protocol, port },
  })
  return ingress.allowed ? undefined : ingress
}

/** Registers the sums by policy. `read` and `names` are called at scrape time. */
export function showShadow(
  registry: Registry,
  read: () => readonly ShadowEntry[],
  names: () => Names,
): void {
  new Gauge({
    name: 'pillion_policy_shadow_denied',
    help: 'What a policy in Shadow mode would have denied, as far as the kernel remembers; absent with more than 100 of them.',
    labelNames: ['policy'],
    registers: [registry],
    collect() {
      this.reset()
      const policies = shadowPolicies(read(), names(), 0)
      if (policies.length > maxShadowMetrics) return
      for (const { policy, rows } of policies)
        this.set(
          { policy },
          rows.reduce((sum, { count }) => sum + count, 0),
        )
    },
  })
}
