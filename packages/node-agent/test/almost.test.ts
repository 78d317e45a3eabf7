// SPDX-License-Identifier: Apache-2.0
import { Action, type PolicyEntry, type Resource } from '@pillion/contract'
import { Direction, type Judgement } from '@pillion/ebpf-l4'
import t from 'tap'
import { almostAllowed, protocolText } from '../src/almost.ts'
import { Names } from '../src/names.ts'
import { identity, of, resourcesOf } from './support/resources.ts'

const rule = 'NetworkPolicy shop/api ingress[0]'
const attempt = { src: 300, dst: 301, protocol: 6, port: 9090 }
const ingress: Judgement = {
  allowed: false,
  ruleId: 9,
  direction: Direction.DIRECTION_INGRESS,
}

const block = (id: number, cidr: string): Resource =>
  of('identity', String(id), { id, labels: { cidr } })

/** What is said when 301 is isolated by rule 9 and allows only this. */
function said(
  entries: Partial<PolicyEntry>[],
  about = ingress,
  resources: Resource[] = [],
): string | undefined {
  const direction = {
    isolated: true,
    isolationRule: 9,
    entries: entries.map((entry) => ({ action: Action.ALLOW, rule: 1, ...entry })),
  }
  const names = new Names(
    resourcesOf([
      of('rule', '1', { id: 1, text: rule }),
      identity(300, 'other'),
      identity(302, 'web'),
      identity(303, 'web'),
      of('identity', '304', { id: 304, namespace: 'ops', labels: { app: 'web' } }),
      of('subjectPolicy', '301', { identity: 301, ingress: direction }),
      of('subjectPolicy', '300', { identity: 300, egress: direction }),
      ...resources,
    ]),
  )
  return almostAllowed(names, attempt, about)
}

const http = { protocol: 6, port: 8080, portBits: 16 }

t.test('another port', (t) => {
  t.equal(
    said([{ peer: 300, ...http }]),
    `${rule} allows this peer on TCP port 8080, not 9090`,
  )
  t.equal(
    said([
      { peer: 300, ...http },
      { peer: 300, protocol: 6, port: 80, portBits: 16 },
    ]),
    `${rule} allows this peer on TCP ports 80, 8080, not 9090`,
  )
  t.equal(
    said([{ peer: 300, protocol: 0, port: 8192, portBits: 7 }]),
    `${rule} allows this peer on ports 8192-8703, not 9090`,
  )
  t.end()
})

t.test('another protocol, and another port with it', (t) => {
  t.equal(
    said([{ peer: 300, protocol: 17, port: 9090, portBits: 16 }]),
    `${rule} allows this peer on UDP port 9090, not TCP`,
  )
  t.equal(
    said([{ peer: 300, protocol: 17, port: 53, portBits: 16 }]),
    `${rule} allows this peer on UDP port 53, not TCP port 9090`,
  )
  t.equal(
    said([{ peer: 300, protocol: 136, port: 9090, portBits: 16 }]),
    `${rule} allows this peer on protocol 136 port 9090, not TCP`,
  )
  t.equal(protocolText(17), 'UDP')
  t.end()
})

t.test('another peer: what those have in common who may', (t) => {
  const here = { protocol: 6, port: 9090, portBits: 16 }
  t.equal(
    said([
      { peer: 302, ...here },
      { peer: 303, ...here },
    ]),
    `${rule} allows TCP port 9090, but only from app=web,version=v1 in shop`,
  )
  t.equal(
    said([
      { peer: 302, ...here },
      { peer: 304, ...here },
    ]),
    `${rule} allows TCP port 9090, but only from app=web`,
    'of two namespaces',
  )
  t.equal(
    said([{ peer: 302 }]),
    `${rule} allows everything, but only from app=web,version=v1 in shop`,
  )
  const net = [block(0x2000_0001, '192.0.2.0/24')]
  t.match(said([{ peer: 0x2000_0001 }], ingress, net), /only from .*192\.0\.2\.0\/24/)
  const many = [1, 2, 3, 4, 5].map((n) => ({ peer: 0x2000_0000 + n }))
  t.match(said(many, ingress, net), /; 2 more$/)
  t.equal(
    said([{ peer: 302 }], { ...ingress, direction: Direction.DIRECTION_EGRESS }),
    `${rule} allows everything, but only to app=web,version=v1 in shop`,
    'the policy of the source is read the other way',
  )
  t.end()
})

t.test('another peer and another port', (t) => {
  t.equal(
    said([{ peer: 302, ...http }]),
    `${rule} allows TCP port 8080 from app=web,version=v1 in shop, not 9090 from this peer`,
  )
  t.end()
})

t.test('nothing to say: allowed, denied by a rule, or nobody is allowed', (t) => {
  t.equal(said([{ peer: 302 }], { ...ingress, allowed: true }), undefined)
  t.equal(said([{ peer: 302 }], { ...ingress, ruleId: 4 }), undefined)
  t.equal(said([]), undefined)
  t.end()
})
