// SPDX-License-Identifier: Apache-2.0
// PURE. What policy says of a connection between two identities, step by step and in words.
import { judgedBit, reservedName } from '@pillion/contract'
import {
  Direction,
  judge,
  passesIngress,
  type Judgement,
  type PolicyTables,
} from '@pillion/ebpf-l4'
import { almostAllowed, type Attempt } from './almost.ts'
import type { Names } from './names.ts'
import { shadowDenial } from './shadow.ts'

/** Who may answer. */
export interface Target {
  readonly identity: number
  readonly port: number
}

export interface Decision extends Judgement {
  /** The rule that almost allowed it, and in what the connection differs. */
  readonly nearest?: string
  /** The rule in Shadow mode that would deny it. */
  readonly shadow?: string
}

export class Verdicts {
  readonly #tables: PolicyTables
  readonly #names: Names
  readonly #add: (what: string, result: string) => void

  /** `add` takes the steps. */
  constructor(
    tables: PolicyTables,
    names: Names,
    add: (what: string, result: string) => void,
  ) {
    this.#tables = tables
    this.#names = names
    this.#add = add
  }

  /** Both policies, in words; what almost allowed, or only is not enforced yet. */
  of(src: number, to: Target, protocol: number): Decision {
    const judgement = this.#bothPolicies(src, to, protocol)
    const attempt = { src, dst: to.identity, protocol, port: to.port }
    const shadow = judgement.allowed ? this.#shadow(attempt) : undefined
    if (shadow !== undefined) return { ...judgement, shadow }
    const nearest = almostAllowed(this.#names, attempt, judgement)
    if (nearest === undefined) return judgement
    this.#add('nearest rule', nearest)
    return { ...judgement, nearest }
  }

  /** The rule in Shadow mode that would deny. */
  #shadow(attempt: Attempt): string | undefined {
    const denied = shadowDenial(this.#tables, attempt)
    const rule = denied && this.#names.rule(denied.ruleId)
    if (denied === undefined || rule === undefined) return undefined
    const nearest = almostAllowed(this.#names, attempt, denied)
    const text = `counted, and let through: ${rule} would deny it`
    this.#add('shadow policy', nearest === undefined ? text : `${text} (${nearest})`)
    return rule
  }

  #bothPolicies(src: number, { identity, port }: Target, protocol: number): Judgement {
    const tables = this.#tables
    const to = `${this.#names.identity(identity)}, port ${port}`
    const egress = judge(tables, {
      subject: src,
      peer: identity,
      direction: Direction.DIRECTION_EGRESS,
      protocol,
      port,
    })
    if (src >= judgedBit)
      this.#add(
        'requests',
        'the proxy asks rules for requests first; these are of what it lets through',
      )
    this.#add('egress policy', `${this.#judgementText(egress)} (to ${to})`)
    if (!egress.allowed) return egress
    if (passesIngress(src)) {
      const who = reservedName(src) ?? ''
      this.#add('ingress policy', `not asked: the source is ${who}`)
      return egress
    }
    const ingress = judge(tables, {
      subject: identity,
      peer: src,
      direction: Direction.DIRECTION_INGRESS,
      protocol,
      port,
    })
    this.#add('ingress policy', `${this.#judgementText(ingress)} (of ${to})`)
    return ingress.allowed && ingress.ruleId === 0 ? egress : ingress
  }

  #judgementText({ allowed, ruleId }: Judgement): string {
    const rule = this.#names.rule(ruleId)
    const verdict = allowed ? 'allowed' : 'denied: EPERM'
    if (rule !== undefined) return `${verdict} by ${rule}`
    return `${verdict}: no policy selects it`
  }
}
