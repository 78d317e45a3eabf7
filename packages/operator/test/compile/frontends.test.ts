// SPDX-License-Identifier: Apache-2.0
// An address that several Services ask for is one's, whoever comes and goes, and no Service loses its cluster address.
import { formatAddress } from '@pillion/contract'
import t from 'tap'
import { compile, emptyPools, type Compiled } from '../../src/compile/compile.ts'
import { ObjectIndex } from '../../src/index/objects.ts'
import { Files } from '../../src/watch/files.ts'

const service = (
  name: string,
  ip: string,
  external: string,
  { port = 80, protocol = 'TCP', created = '2026-01-01T00:00:00Z' } = {},
): string => `
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop, creationTimestamp: '${created}'}
spec: {clusterIP: ${ip}, externalIPs: [${external}], ports: [{port: ${port}, protocol: ${protocol}}]}
`

/** Compiles step by step; gives the external addresses of each ServicePort that has some. */
function cluster(): (text: string) => Record<string, string[]> {
  const files = new Files()
  const index = new ObjectIndex()
  let compiled: Compiled | undefined
  return (text) => {
    const dirty = index.apply(files.update(new Map([['f', text]])))
    compiled = compile(
      ...([index.snapshot(), compiled?.pools ?? emptyPools(), compiled, dirty] as const),
    )
    return Object.fromEntries(
      [...compiled.services.servicePorts].flatMap(([name, { externalAddresses }]) =>
        externalAddresses.length === 0
          ? []
          : [[name.slice('shop/'.length), externalAddresses.map(formatAddress)]],
      ),
    )
  }
}

t.test('the older has it; the next one when it goes', async (t) => {
  const step = cluster()
  const young = service('a', '10.96.0.1', '198.51.100.7', {
    created: '2026-02-01T00:00:00Z',
  })
  const old = service('b', '10.96.0.2', '198.51.100.7')
  const same = service('c', '10.96.0.3', '198.51.100.7')
  t.same(step(young), { 'a:80/TCP': ['198.51.100.7'] })
  t.same(step(young + old), { 'b:80/TCP': ['198.51.100.7'] })
  t.same(step(young + old + same), { 'b:80/TCP': ['198.51.100.7'] }, 'then the name')
  t.same(step(young + same), { 'c:80/TCP': ['198.51.100.7'] })
  const elsewhere = service('c', '10.96.0.3', '198.51.100.8')
  t.same(step(young + elsewhere), {
    'a:80/TCP': ['198.51.100.7'],
    'c:80/TCP': ['198.51.100.8'],
  })
})

t.test('Services share an address by port and protocol', async (t) => {
  const step = cluster()
  const web = service('web', '10.96.0.1', '198.51.100.7')
  const admin = service('admin', '10.96.0.2', '198.51.100.7', { port: 81 })
  const quic = service('quic', '10.96.0.3', '198.51.100.7', { protocol: 'UDP' })
  t.same(Object.keys(step(web + admin + quic)).sort(), [
    'admin:81/TCP',
    'quic:80/UDP',
    'web:80/TCP',
  ])
  const moved = service('admin', '10.96.0.2', '198.51.100.7')
  t.same(Object.keys(step(web + moved + quic)).sort(), ['admin:80/TCP', 'quic:80/UDP'])
})

t.test('a cluster address is its own Service’s alone', async (t) => {
  const step = cluster()
  const thief = service('thief', '10.96.0.9', "10.96.0.1, '198.51.100.7', 'FD00::0001'")
  t.same(step(thief), { 'thief:80/TCP': ['10.96.0.1', '198.51.100.7', 'fd00::1'] })
  const victim = service('victim', '10.96.0.1', '', { port: 443 })
  const six = service('six', "'fd00::1'", '')
  t.same(step(thief + victim), { 'thief:80/TCP': ['198.51.100.7', 'fd00::1'] })
  t.same(step(thief + victim + six), { 'thief:80/TCP': ['198.51.100.7'] })
  t.same(step(victim + six), {})
})
