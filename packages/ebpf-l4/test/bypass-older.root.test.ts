// SPDX-License-Identifier: Apache-2.0
// Sockets that are older than their process's place in the pod, or were made elsewhere and passed to it. They keep the cgroup
// that they were made in: from outside of the node's cgroup, no hook of the sender sees them, and only the destination judges.
import { dirname } from 'node:path'
import t from 'tap'
import { compile, nextLine } from './support/program.ts'
import { Ground, hookOf, policies, port } from './support/vectors.ts'

const directory = t.testdir()
const ground = await Ground.create(directory)
const { client, server, host } = ground
t.teardown(() => host.close())
const program = compile('older', directory)
const addresses = [server.ip4, server.ip6, `::ffff:${server.ip4}`]

/** Where such a socket may come from: both in the network of the pod. */
const origins = {
  'a cgroup of the node': { namespace: client.namespace, cgroup: host.root },
  'outside of the node': { namespace: client.namespace, cgroup: dirname(host.root) },
}
const argv = (how: string, text: string, to: string): string[] => [
  ...[program, how, text, to, String(port), client.cgroup],
]

for (const [origin, from] of Object.entries(origins)) {
  for (const [name, how] of [
    ['a socket made before', 'created'],
    ['a socket passed by SCM_RIGHTS', 'passed'],
  ] as const) {
    t.test(`${name}, in ${origin}`, async (t) => {
      for (const type of ['tcp', 'udp']) {
        for (const to of addresses) {
          const text = `${how} ${type} ${origin} ${to}`
          const send = async (what: string): Promise<string> =>
            (await host.run(from, argv(`${how}-${type}`, what, to))).out
          t.equal(await send(text), 'sent')
          t.ok(await ground.arrives(text), `${type} ${to}: without a policy it arrives`)
          for (const policy of policies) {
            ground.forbid(policy)
            const word = await send(`${text} ${policy.name}`)
            const event = await ground.denial(policy)
            // The process is in the pod by then: where the hook runs, it knows.
            const seen = origin === 'a cgroup of the node'
            t.equal(hookOf(event, word), seen ? 'call' : 'ingress', `${type} ${to}`)
            t.equal(event.srcIdentity, client.identity)
            ground.allow()
          }
          t.equal(await send(`${text} last`), 'sent')
          t.ok(await ground.arrives(`${text} last`))
          for (const policy of policies) {
            t.notOk(ground.hasArrived(`${text} ${policy.name}`), policy.name)
          }
        }
      }
    })
  }

  t.test(`a socket connected before, in ${origin}`, async (t) => {
    for (const type of ['tcp', 'udp']) {
      for (const to of addresses) {
        for (const policy of policies) {
          const text = `connected ${type} ${origin} ${to} ${policy.name}`
          const start = (what: string) =>
            host.start(from, argv(`connected-${type}`, what, to))
          const open = start(`${text} open`)
          t.equal(await nextLine(open), 'ready')
          open.stdin?.write('\n')
          t.ok(await ground.arrives(`${text} open`), `${type} ${to}: without a policy`)

          const cut = start(text)
          t.equal(await nextLine(cut), 'ready')
          ground.forbid(policy)
          cut.stdin?.write('\n')
          const event = await (type === 'tcp'
            ? ground.cut(policy)
            : ground.denial(policy))
          t.equal(event.srcIdentity, client.identity)
          ground.allow()
          t.equal(
            (await host.run(client, argv('created-udp', `${text} last`, to))).out,
            'sent',
          )
          t.ok(await ground.arrives(`${text} last`))
          if (type === 'udp') t.notOk(ground.hasArrived(text))
        }
      }
    }
  })
}
