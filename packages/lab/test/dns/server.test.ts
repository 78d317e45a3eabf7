// SPDX-License-Identifier: Apache-2.0
import { Resolver } from 'node:dns/promises'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import packet from 'dns-packet'
import t from 'tap'
import { serveDns } from '../../src/dns/server.ts'
import type { Zone } from '../../src/dns/zone.ts'

const many = Array.from({ length: 100 }, (_, i) => `10.244.1.${i + 1}`)
let zone: Zone = {
  'web.n.svc.cluster.local': { A: ['10.96.1.0'], AAAA: ['fd00:10:96::101'] },
  'alias.n.svc.cluster.local': { CNAME: 'web.n.svc.cluster.local' },
  'outside.n.svc.cluster.local': { CNAME: 'db.example.org' },
  'many.n.svc.cluster.local': { A: many },
}

const server = await serveDns(() => zone, 0, ['127.0.0.1', '::1'])
t.teardown(() => server.close())

for (const address of ['127.0.0.1', '[::1]']) {
  t.test(`a real resolver over ${address}`, async (t) => {
    const resolver = new Resolver({ timeout: 2000, tries: 1 })
    resolver.setServers([`${address}:${server.port}`])
    t.same(await resolver.resolve4('web.n.svc.cluster.local'), ['10.96.1.0'])
    t.same(await resolver.resolve6('WEB.n.svc.cluster.local'), ['fd00:10:96::101'])
    t.same(await resolver.resolve4('alias.n.svc.cluster.local'), ['10.96.1.0'])
    t.same(await resolver.resolveCname('outside.n.svc.cluster.local'), ['db.example.org'])
    await t.rejects(resolver.resolve4('none.n.svc.cluster.local'), { code: 'ENOTFOUND' })
    await t.rejects(resolver.resolve6('many.n.svc.cluster.local'), { code: 'ENODATA' })
    const all = await resolver.resolve4('many.n.svc.cluster.local')
    t.equal(all.length, 100, 'truncated over UDP, asked again over TCP')
  })
}

t.test('a long answer over UDP is truncated to what the client takes', async (t) => {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  const query = packet.encode({
    type: 'query',
    id: 7,
    questions: [{ type: 'A', name: 'many.n.svc.cluster.local' }],
  })
  socket.send(query, server.port, '127.0.0.1')
  const [bytes] = (await once(socket, 'message')) as [Buffer]
  const reply = packet.decode(bytes)
  t.ok(bytes.length <= 512)
  t.equal(reply.id, 7)
  t.ok((reply.flags ?? 0) & packet.TRUNCATED_RESPONSE)
})

t.test('two queries in one TCP segment are both answered', async (t) => {
  const query = packet.streamEncode({
    type: 'query',
    id: 1,
    questions: [{ type: 'A', name: 'web.n.svc.cluster.local' }],
  })
  const socket = connect(server.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(Buffer.concat([query, query]))
  let got = Buffer.alloc(0)
  for await (const chunk of socket) {
    got = Buffer.concat([got, chunk as Buffer])
    const first = 2 + got.readUInt16BE(0)
    if (got.length >= 2 * first) break
  }
  t.same(packet.streamDecode(got).answers?.length, 1)
})

t.test('garbage is not answered and harms nobody', async (t) => {
  const socket = connect(server.port, '127.0.0.1')
  socket.end(Buffer.from('000affffffffffffffffffff', 'hex'))
  await once(socket.resume(), 'close')
  const udp = createSocket('udp4')
  t.teardown(() => udp.close())
  udp.send(Buffer.from('nonsense'), server.port, '127.0.0.1')
  zone = { ...zone, 'new.n.svc.cluster.local': { A: ['10.96.1.9'] } }
  const resolver = new Resolver({ timeout: 2000, tries: 1 })
  resolver.setServers([`127.0.0.1:${server.port}`])
  t.same(
    await resolver.resolve4('new.n.svc.cluster.local'),
    ['10.96.1.9'],
    'new records at once',
  )
})
