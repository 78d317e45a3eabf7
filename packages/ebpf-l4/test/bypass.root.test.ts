// SPDX-License-Identifier: Apache-2.0
// Ways around a policy: each reaches the target without one, and does not with one, whether the sender's or the receiver's. What
// looks only at connect(2) misses most of them.
import t from 'tap'
import { compile } from './support/program.ts'
import { Ground, hookOf, policies, port } from './support/vectors.ts'

const directory = t.testdir()
const ground = await Ground.create(directory)
const { client, server, host } = ground
t.teardown(() => host.close())
const program = compile('vector', directory)

const [ip4, ip6, mapped] = [server.ip4, server.ip6, `::ffff:${server.ip4}`]

/** Name for people, name in vector.c, addresses, and the hook that stops it. */
const rows: [string, string, string[], 'call' | 'egress'][] = [
  ['TCP connect', 'tcp', [ip4, ip6], 'call'],
  ['TCP connect, IPv4-mapped IPv6', 'tcp', [mapped], 'call'],
  ['io_uring CONNECT', 'io_uring', [ip4, ip6, mapped], 'call'],
  ['io_uring CONNECT by the kernel thread', 'io_uring-sqpoll', [ip4, ip6], 'call'],
  ['MPTCP', 'mptcp', [ip4, ip6, mapped], 'call'],
  ['TCP_FASTOPEN_CONNECT', 'fastopen-connect', [ip4, ip6, mapped], 'call'],
  ['sendto(MSG_FASTOPEN)', 'fastopen-send', [ip4, ip6], 'call'],
  ['sendto(MSG_FASTOPEN), IPv4-mapped IPv6', 'fastopen-send', [mapped], 'call'],
  ['unconnected UDP', 'udp', [ip4, ip6], 'call'],
  ['unconnected UDP, IPv4-mapped IPv6', 'udp', [mapped], 'call'],
  ['an IPv6 UDP socket given an IPv4 address', 'udp-across-families', [ip4], 'call'],
  ['connected UDP', 'udp-connected', [ip4, ip6, mapped], 'call'],
  ['UDP connected elsewhere', 'udp-past-connect', [ip4], 'call'],
  ['UDP-Lite', 'udplite', [ip4, ip6], 'egress'],
  ['UDP-Lite, connected', 'udplite-connected', [ip4, ip6], 'egress'],
  ['raw IP socket', 'raw', [ip4, ip6], 'egress'],
]

const send = async (vector: string, text: string, to: string): Promise<string> =>
  (await host.run(client, [program, vector, text, to, String(port)])).out

for (const [name, vector, addresses, hook] of rows) {
  t.test(name, async (t) => {
    for (const to of addresses) {
      const text = `${vector} ${to}`
      t.equal(await send(vector, text, to), 'sent', to)
      t.ok(await ground.arrives(text), `${to}: without a policy it arrives`)
      for (const policy of policies) {
        ground.forbid(policy)
        const word = await send(vector, `${text} ${policy.name}`, to)
        t.equal(word, 'EPERM', `${to}: refused by ${policy.name}`)
        const event = await ground.denial(policy)
        t.equal(hookOf(event, word), hook)
        t.equal(event.srcIdentity, client.identity)
        t.equal(event.dstIdentity, server.identity)
        ground.allow()
      }
      // What was let through would be before this.
      t.equal(await send(vector, `${text} last`, to), 'sent')
      t.ok(await ground.arrives(`${text} last`))
      for (const { name } of policies) t.notOk(ground.hasArrived(`${text} ${name}`), name)
    }
  })
}

for (const [name, vector] of [
  ['ICMP echo, raw socket', 'icmp-raw'],
  ['ICMP echo, ping socket', 'icmp-ping'],
] as const) {
  t.test(name, async (t) => {
    for (const to of [ip4, ip6]) {
      t.equal(await send(vector, 'there and back', to), 'sent', `${to}: is answered`)
      for (const policy of policies) {
        ground.forbid(policy)
        const word = await send(vector, 'there and back', to)
        // ping_v6_sendmsg does not return what ip6_push_pending_frames says.
        const silent = vector === 'icmp-ping' && to === ip6
        t.equal(word, silent ? 'silence' : 'EPERM', policy.name)
        t.equal(hookOf(await ground.denial(policy), 'EPERM'), 'egress')
        ground.allow()
      }
    }
  })
}

t.test("AF_PACKET, from the pod's own device", async (t) => {
  const spoof = compile('spoof', directory)
  const link = await host.run(server, ['ip', '-o', 'link', 'show', 'eth0'])
  const mac = /ether (\S+)/.exec(link.out)?.[1] ?? ''
  for (const [to, source] of [
    [ip4, client.ip4],
    [ip6, client.ip6],
  ] as const) {
    const argv = [spoof, 'eth0', mac, to, String(port), source]
    // The payload is the source: it must not have come before.
    for (const policy of policies) {
      ground.forbid(policy)
      t.same(await host.run(client, argv), { code: 0, out: '', err: '' })
      const event = await ground.denial(policy)
      t.equal(hookOf(event, 'sent'), 'ingress')
      t.equal(event.srcIdentity, client.identity)
      ground.allow()
    }
    t.equal(await send('udp', `after ${source}`, to), 'sent')
    t.ok(await ground.arrives(`after ${source}`))
    t.notOk(ground.hasArrived(source), 'nothing came before it')
    t.same(await host.run(client, argv), { code: 0, out: '', err: '' })
    t.ok(await ground.arrives(source), 'without a policy it arrives')
  }
})
