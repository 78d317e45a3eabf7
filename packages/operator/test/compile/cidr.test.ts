// SPDX-License-Identifier: Apache-2.0
// Whom an ipBlock means: addresses outside, pods and nodes, with their longest match.
import { formatAddress, identityBit, parseAddress, prefixHolds } from '@pillion/contract'
import t from 'tap'
import type { Compiled } from '../../src/compile/compile.ts'
import { compileYaml, node, pod, snapshotOf } from '../support/objects.ts'

const policy = (block: string, direction = 'ingress', peer = 'from'): string => `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: blocks, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [${direction === 'ingress' ? 'Ingress' : 'Egress'}]
  ${direction}: [{${peer}: [{ipBlock: ${block}}]}]
`

const cluster = [
  node('node-1', '172.18.0.2'),
  node('node-2', '172.18.0.3'),
  pod('shop', 'web', '10.244.1.2'),
  pod('shop', 'api', '10.244.1.3'),
  pod('shop', 'db', '10.245.1.2'),
].join('')

/** The identity that a node finds at an address: the longest match. */
function identityAt(compiled: Compiled, text: string): number {
  const address = parseAddress(text)
  let best = { prefixLength: -1, identity: 1 }
  for (const entry of compiled.workloads.addresses.values()) {
    const name = `${formatAddress(entry.address)}/${entry.prefixLength}`
    // As the kernel's trie does it: over 16 bytes, knowing nothing of families.
    const holds = entry.prefixLength < 96 || prefixHolds({ ...entry, name }, address)
    if (holds && entry.prefixLength > best.prefixLength) best = entry
  }
  return best.identity
}

function mayEnter(compiled: Compiled, text: string): boolean {
  const web = compiled.workloads.facts.get('shop/web')?.identity
  const peers = compiled.policies.subjects.get(String(web))?.ingress?.entries ?? []
  return peers.some(({ peer }) => peer === identityAt(compiled, text))
}

t.test('a block without its exceptions, inside and outside of the cluster', async (t) => {
  const compiled = compileYaml(
    cluster + policy('{cidr: 10.0.0.0/8, except: [10.244.0.0/16, 10.9.9.9/32]}'),
  )
  for (const [address, expected] of [
    ['10.1.2.3', true],
    ['10.9.9.9', false],
    ['10.9.9.8', true],
    ['10.244.7.7', false],
    ['10.244.1.3', false], // pod api
    ['10.245.1.2', true], // pod db
    ['11.0.0.1', false],
    ['fd00::1', false],
  ] as const) {
    t.equal(mayEnter(compiled, address), expected, address)
  }
})

t.test('all of one family is nothing of the other', async (t) => {
  const six = compileYaml(cluster + policy('{cidr: "::/0"}'))
  t.ok(mayEnter(six, 'fd00::1'))
  t.notOk(mayEnter(six, '192.0.2.1'))
  const four = compileYaml(cluster + policy('{cidr: 0.0.0.0/0}'))
  t.ok(mayEnter(four, '192.0.2.1'))
  t.ok(mayEnter(four, '10.244.1.3'))
  t.notOk(mayEnter(four, 'fd00::1'))
})

t.test('a node in a block can be allowed, and stays a node', async (t) => {
  const compiled = compileYaml(cluster + policy('{cidr: 172.18.0.3/32}', 'egress', 'to'))
  const web = compiled.workloads.facts.get('shop/web')?.identity
  const peer = identityAt(compiled, '172.18.0.3')
  t.ok(peer >= identityBit.node)
  t.equal(identityAt(compiled, '172.18.0.2'), 3)
  const egress = compiled.policies.subjects.get(String(web))?.egress?.entries ?? []
  t.ok(egress.some((entry) => entry.peer === peer))
})

t.test('no selector finds a block', async (t) => {
  const unused = policy('{cidr: 192.0.2.0/24}').replace('name: blocks', 'name: other')
  const everybody = policy('').replace('ipBlock: ', 'namespaceSelector: {}')
  const compiled = compileYaml(
    cluster + everybody + unused.replace('app: web', 'app: db'),
  )
  t.ok(mayEnter(compiled, '10.244.1.3'), 'every pod')
  t.notOk(mayEnter(compiled, '192.0.2.1'), 'and nobody else')
})

t.test('what is no block, or no part of one, is refused', async (t) => {
  for (const [block, field] of [
    ['{cidr: 10.0.0.0}', 'cidr'],
    ['{cidr: 10.0.0.0/33}', 'cidr'],
    ['{cidr: 10.0.0.0/8, except: [11.0.0.0/8]}', 'except[0]'],
    ['{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}', 'except[0]'],
    ['{cidr: 10.0.0.0/8, except: ["fd00::/64"]}', 'except[0]'],
  ] as const) {
    const { errors } = snapshotOf(policy(block))
    t.equal(errors[0]?.field, `spec.ingress[0].from[0].ipBlock.${field}`, block)
  }
})
