// SPDX-License-Identifier: Apache-2.0
// The number that an allowed request goes with: what the kernel lets through for a rule about requests.
import {
  compileRequestPolicy,
  HttpCondition,
  judgedBit,
  L7Policy,
  L7PolicyRule,
} from '@pillion/contract'
import t from 'tap'
import { Guard } from '../../src/authorize/guard.ts'
import { Verifier } from '../../src/authorize/verifier.ts'
import type { Exchange } from '../../src/exchange.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { makeEndpoint } from '../support/endpoint.ts'

const rule = { ...L7PolicyRule.fromPartial({ text: 'read', peers: [300] }) }
const http = [{ ...HttpCondition.fromPartial({}), methods: ['GET'] }]
const plain = L7PolicyRule.fromPartial({ text: 'plain', peers: [301] })
const policy = {
  ...L7Policy.fromPartial({ identity: 400, isolation: 'AccessPolicy shop/web' }),
  rules: [{ ...rule, http }, plain],
}
const policies = new Map([[400, compileRequestPolicy(policy)]])

function admit(caller: number, method: string, protectedIdentity: number): unknown {
  const codes: string[] = []
  const refuser = { refuse: (_exchange: Exchange, code: string) => codes.push(code) }
  const guard = new Guard(new Verifier(''), new Metrics(), refuser)
  const exchange = {
    connection: { client: { identity: caller } },
    message: { method, path: '/', authority: 'web', headers: [] },
  } as unknown as Exchange
  const endpoint = makeEndpoint('10.0.0.1', { identity: protectedIdentity })
  const identity = guard.admit(policies, exchange, endpoint, () => {
    throw new Error('nothing to wait for')
  })
  return identity ?? codes
}

t.equal(admit(300, 'GET', 400), 300 + judgedBit, 'a rule for requests judged it')
t.strictSame(admit(300, 'PUT', 400), ['REQUEST_DENIED'])
t.equal(admit(301, 'PUT', 400), 301, 'no such rule is about this caller')
t.strictSame(admit(302, 'GET', 400), ['REQUEST_DENIED'])
t.equal(admit(300, 'PUT', 401), 300, 'no such rule is about this endpoint')
