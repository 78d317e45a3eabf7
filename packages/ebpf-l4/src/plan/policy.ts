// SPDX-License-Identifier: Apache-2.0
// SubjectPolicies -> pl_subjects and pl_rules.
import {
  Draft,
  Action,
  type DirectionPolicy,
  type Resources,
  type SubjectPolicy,
} from '@pillion/contract'
import {
  Direction,
  ruleKeyLayout,
  ruleLayout,
  subjectKeyLayout,
  subjectLayout,
  Verdict,
} from '../gen/layout.ts'
import { tableKey, type Tables } from '../tables.ts'
import { replace, type Entries } from './draft.ts'
import type { PlanState } from './state.ts'

type PolicyTables = Pick<Tables, 'pl_subjects' | 'pl_rules'>

/** Plans the subjects of the named SubjectPolicies. */
export function planPolicy(
  resources: Resources,
  state: PlanState,
  changed: Iterable<string>,
): PolicyTables {
  const subjects = new Draft(state.tables.pl_subjects)
  const rules = new Draft(state.tables.pl_rules)
  const names = [...changed]
  const old = names.map((name) => fragment(state.resources.subjectPolicy.get(name)))
  const next = names.map((name) => fragment(resources.subjectPolicy.get(name)))
  replace(
    subjects,
    old.map((before) => before.subjects),
    next.map((after) => after.subjects),
  )
  replace(
    rules,
    old.map((before) => before.rules),
    next.map((after) => after.rules),
  )
  return { pl_subjects: subjects.done(), pl_rules: rules.done() }
}

interface Fragment {
  readonly subjects: Entries
  readonly rules: Entries
}

function fragment(policy: SubjectPolicy | undefined): Fragment {
  if (policy === undefined) return { subjects: [], rules: [] }
  const { identity, ingress, egress, shadowIngress, shadowEgress } = policy
  const directions = [
    directionFragment(identity, Direction.DIRECTION_INGRESS, ingress),
    directionFragment(identity, Direction.DIRECTION_EGRESS, egress),
    directionFragment(identity, Direction.DIRECTION_SHADOW_INGRESS, shadowIngress),
    directionFragment(identity, Direction.DIRECTION_SHADOW_EGRESS, shadowEgress),
  ]
  return {
    subjects: directions.flatMap(({ subjects }) => subjects),
    rules: directions.flatMap(({ rules }) => rules),
  }
}

/** A port without its free bits, as the kernel looks it up. */
export function portBlock(port: number, portBits: number): number {
  return port & (0xffff_0000 >>> portBits) & 0xffff
}

function directionFragment(
  identity: number,
  direction: Direction,
  policy: DirectionPolicy | undefined,
): Fragment {
  // No subject at all is the kernel's fastest way to allow.
  if (policy === undefined || (!policy.isolated && policy.entries.length === 0)) {
    return { subjects: [], rules: [] }
  }
  const rules = new Map<string, Buffer>()
  let portBlocks = 0
  let hasDeny = 0
  for (const { peer, protocol, port, portBits, action, rule } of policy.entries) {
    const isDeny = action === Action.DENY
    const key = tableKey(
      ruleKeyLayout.write({
        subject: identity,
        peer,
        direction,
        protocol,
        portBits,
        port: portBlock(port, portBits),
      }),
    )
    portBlocks |= 1 << portBits
    if (isDeny) hasDeny = 1
    // Two rules about the same: the first is named, but a deny wins over an allow.
    const known = rules.get(key)
    if (known !== undefined && !(isDeny && isAllow(known))) continue
    const verdict = isDeny ? Verdict.VERDICT_DENY : Verdict.VERDICT_ALLOW
    rules.set(key, ruleLayout.write({ rule, verdict }))
  }
  const key = tableKey(subjectKeyLayout.write({ identity, direction }))
  const value = subjectLayout.write({
    isolated: Number(policy.isolated),
    isolationRule: policy.isolationRule,
    portBlocks,
    hasDeny,
  })
  return { subjects: [[key, value]], rules: [...rules] }
}

function isAllow(rule: Buffer): boolean {
  return ruleLayout.read(rule).verdict === Verdict.VERDICT_ALLOW
}
