// SPDX-License-Identifier: Apache-2.0
// PURE. The kernel's policy evaluation (bpf/include/pillion/policy.h), step for step on the same tables, for explanations.
import { ReservedIdentity } from '@pillion/contract'
import {
  Direction,
  ruleKeyLayout,
  ruleLayout,
  subjectKeyLayout,
  subjectLayout,
  Verdict,
} from './gen/layout.ts'
import { portBlock } from './plan/policy.ts'
import { tableKey, type Tables } from './tables.ts'

/** The part of the tables that decides. */
export type PolicyTables = Pick<Tables, 'pl_subjects' | 'pl_rules'>

export interface Judgement {
  readonly allowed: boolean
  /** Id of the Rule that decided; 0: no policy selects the subject. */
  readonly ruleId: number
  /** Whose policy decided. */
  readonly direction: Direction
}

export interface Question {
  /** Identity whose policy is asked. */
  readonly subject: number
  readonly peer: number
  readonly direction: Direction
  /** IP protocol number. */
  readonly protocol: number
  /** Destination port. */
  readonly port: number
}

/** One direction: a deny wins over every allow; without any, an isolated subject denies and another one allows. */
export function judge(tables: PolicyTables, question: Question): Judgement {
  const { subject: identity, direction } = question
  const key = tableKey(subjectKeyLayout.write({ identity, direction }))
  const value = tables.pl_subjects.get(key)
  if (value === undefined) return { allowed: true, ruleId: 0, direction }
  const subject = subjectLayout.read(value)
  let judgement: Judgement =
    subject.isolated !== 0
      ? { allowed: false, ruleId: subject.isolationRule, direction }
      : { allowed: true, ruleId: 0, direction }
  for (let portBits = 16; portBits >= 0; portBits--) {
    if ((subject.portBlocks & (1 << portBits)) === 0) continue
    for (let wild = 0; wild < 4; wild++) {
      const rule = lookUp(tables, question, portBits, wild)
      if (rule === undefined) continue
      const allowed = rule.verdict !== Verdict.VERDICT_DENY
      judgement = { allowed, ruleId: rule.rule, direction }
      if (!allowed || subject.hasDeny === 0) return judgement
    }
  }
  return judgement
}

/** `wild` as in the kernel: bit 0 any peer, bit 1 any protocol. */
function lookUp(
  tables: PolicyTables,
  question: Question,
  portBits: number,
  wild: number,
) {
  const key = ruleKeyLayout.write({
    subject: question.subject,
    peer: wild & 1 ? ReservedIdentity.any : question.peer,
    direction: question.direction,
    protocol: wild & 2 ? 0 : question.protocol,
    portBits,
    port: portBlock(question.port, portBits),
  })
  const value = tables.pl_rules.get(tableKey(key))
  return value === undefined ? undefined : ruleLayout.read(value)
}

/**
 * Both policies that a connection meets: egress of the source, ingress of the destination. This node's own
 * processes pass ingress: the kubelet's probes must reach its pods. Those of other nodes are judged like anybody.
 */
export function judgeBoth(
  tables: PolicyTables,
  src: number,
  dst: number,
  protocol: number,
  port: number,
): Judgement {
  const egress = judge(tables, {
    subject: src,
    peer: dst,
    direction: Direction.DIRECTION_EGRESS,
    protocol,
    port,
  })
  if (!egress.allowed || passesIngress(src)) return egress
  return judge(tables, {
    subject: dst,
    peer: src,
    direction: Direction.DIRECTION_INGRESS,
    protocol,
    port,
  })
}

/** True for identities that no ingress policy is asked about. */
export function passesIngress(src: number): boolean {
  return src === ReservedIdentity.host
}
