// SPDX-License-Identifier: Apache-2.0
// timeout: 400
// Services to the letter, from inside pods: through the kernel and, where a service is declared, through the proxy.
import { join } from 'node:path'
import t from 'tap'
import {
  exec,
  load,
  must,
  pillion,
  shell,
  start,
  until,
  withYaml,
} from '../support/lab.ts'

const directory = join(import.meta.dirname, 'services')
const everybody = ['echo-1', 'echo-2', 'echo-3']
const clients = ['client-1', 'client-2']
const refused = ['exit 7']

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', directory, '--nodes', '2'], 120_000)
})
t.teardown(() => pillion(['lab', 'down']))

/** Who answers `count` requests, each on a connection of its own: names, or how curl failed (7: connect, 22: status). */
async function answers(
  pod: string,
  host: string,
  count = 40,
  seconds = 5,
): Promise<string[]> {
  const urls = Array.from({ length: count }, (_, i) => `http://${host}/${i}`)
  const { out } = await exec(
    ...([pod, 'curl', '-gsf', '-m', String(seconds), '-H', 'connection: close'] as const),
    ...['-w', 'exit %{exitcode}\\n', ...urls],
  )
  const lines = out.split('\n').filter((line) => line !== 'exit 0')
  return [...new Set(lines)].sort()
}

interface KubeObject {
  readonly spec: { readonly clusterIP: string; readonly clusterIPs: readonly string[] }
  readonly status: { readonly podIP: string; readonly podIPs: readonly { ip: string }[] }
}

async function get(kind: string, name: string): Promise<KubeObject> {
  const text = await must(['lab', 'get', kind, name, '-n', 'e2e', '-o', 'json'])
  return JSON.parse(text) as KubeObject
}

const addressOf = async (pod: string): Promise<string> =>
  (await get('pod', pod)).status.podIP

/** Ends a pod and waits until it is gone; the result starts it anew and waits until it answers. */
async function remove(pod: string): Promise<() => Promise<void>> {
  await must(['lab', 'delete', `pod/${pod}`, '-n', 'e2e'])
  await until(`${pod} is gone`, async () => {
    return (await pillion(['lab', 'get', 'pod', pod, '-n', 'e2e'])).code !== 0
  })
  return async () => {
    await must(['lab', 'apply', '-f', join(directory, 'pods.yaml')])
    await until(`${pod} answers`, async () => {
      const { code, out } = await pillion([
        'lab',
        'get',
        'pod',
        pod,
        '-n',
        'e2e',
        '-o',
        'json',
      ])
      if (code !== 0) return false
      const { podIP } = (JSON.parse(out) as KubeObject).status
      return (await answers('client-1', `${podIP}:8080`, 1))[0] === pod
    })
  }
}

for (const client of clients) {
  t.test(`${client}: ClusterIP by both families`, async (t) => {
    t.same(await answers(client, 'echo'), everybody)
    const { clusterIPs } = (await get('service', 'echo')).spec
    for (const address of clusterIPs) {
      const host = address.includes(':') ? `[${address}]` : address
      t.same(await answers(client, host), everybody, address)
    }
    const only = await get('service', 'echo-ipv6')
    t.same(only.spec.clusterIPs.length, 1)
    t.same(await answers(client, 'echo-ipv6'), everybody, 'IPv6 alone')
  })

  t.test(`${client}: a headless service is its pods`, async (t) => {
    const { out } = await shell(client, 'getent ahostsv4 peers | cut -d" " -f1 | sort -u')
    const pods = await Promise.all(everybody.map(addressOf))
    t.same(out.split('\n').sort(), pods.sort())
    for (const pod of everybody)
      t.same(await answers(client, `${pod}.peers:8080`, 2), [pod], 'by its own name')
    t.same(await answers(client, 'alias'), everybody, 'ExternalName stands for another')
  })

  t.test(`${client}: node ports and external addresses`, async (t) => {
    const nodes = ['10.245.0.1', '10.245.0.2', '[fd00:10:245::1]', '[fd00:10:245::2]']
    for (const node of nodes)
      t.same(await answers(client, `${node}:30080`, 3), ['solo'], `node port at ${node}`)
    for (const address of ['198.51.100.7', '[2001:db8::7]', '198.51.100.8'])
      t.same(await answers(client, address, 3), ['solo'], `external address ${address}`)
    const through = ['10.245.0.1:30081', '198.51.100.10']
    for (const host of through)
      t.same(await answers(client, host, 3), ['solo'], `through the proxy: ${host}`)
    // A load balancer that is a proxy wants to see the connection; no other port of an address is taken.
    for (const host of ['198.51.100.9', '198.51.100.7:81', '10.245.0.1:30082'])
      t.match(await answers(client, host, 1, 2), [/^exit (7|28)$/], `not ours: ${host}`)
    const why = await must(['explain', `e2e/${client}`, '10.245.0.2:30080'])
    t.match(why, /node port 30080 at 10\.245\.0\.2/)
  })

  t.test(`${client}: DNS through its ClusterIP by unconnected UDP`, async (t) => {
    const lookup = "require('dns').lookup('echo', 4, (e, a) => console.log(e?.code ?? a))"
    const { clusterIP } = (await get('service', 'echo')).spec
    t.equal((await exec(client, 'node', '-e', lookup)).out, clusterIP)
    for (const mode of ['unconnected', 'connected']) {
      const script = `yes | head -n 12 | node ${directory}/app/udp.ts ${mode} ${clusterIP} 53 & sleep 1.5; kill $!`
      const lines = (await shell(client, script)).out.split('\n')
      t.equal(lines.length, 12, mode)
      t.same(
        lines.filter((line) => !line.startsWith(`${clusterIP}:53 echo-`)),
        [],
        mode,
      )
    }
  })
}

t.test('a service without selector, and a slice that somebody wrote', async (t) => {
  const [first, second] = await Promise.all(['echo-1', 'solo'].map(addressOf))
  const yaml = `
apiVersion: v1
kind: Service
metadata: { name: manual, namespace: e2e }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: manual-1, namespace: e2e, labels: { kubernetes.io/service-name: manual } }
addressType: IPv4
ports: [{ name: http, port: 8080, protocol: TCP }]
endpoints: [{ addresses: [${first}] }, { addresses: [${second}] }]
`
  t.equal((await withYaml('apply', yaml)).code, 0)
  await until('both answer', async () => {
    const got = await answers('client-1', 'manual')
    return got.join() === 'echo-1,solo'
  })
  t.equal((await withYaml('delete', yaml)).code, 0)
})

t.test('internalTrafficPolicy Local', async (t) => {
  for (const name of ['local', 'local-l7']) {
    t.same(await answers('client-1', name), ['echo-1'], name)
    t.same(await answers('client-2', name), ['echo-2', 'echo-3'], name)
  }
  t.same(await answers('client-1', 'edge', 1), refused, 'no endpoint here: at once')
  t.same(await answers('client-2', 'edge', 3), ['solo'])
  t.same(await answers('client-1', 'edge-l7', 1), ['exit 22'], 'the proxy says 503')
  const why = await must(['explain', 'e2e/client-1', 'e2e/edge:80'])
  t.match(why, /internalTrafficPolicy Local: only endpoints of node-1/)
})

t.test('trafficDistribution, and a node that moves to another zone', async (t) => {
  for (const name of ['zone', 'zone-l7', 'own-node']) {
    t.same(await answers('client-1', name), ['echo-1'], name)
    t.same(await answers('client-2', name), ['echo-2', 'echo-3'], name)
  }
  const node = (zone: string): string => `
apiVersion: v1
kind: Node
metadata: { name: node-1, labels: { topology.kubernetes.io/zone: ${zone} } }
`
  t.equal((await withYaml('apply', node('zone-b'))).code, 0)
  for (const name of ['zone', 'zone-l7']) {
    await until(`${name} is one zone`, async () => {
      return (await answers('client-1', name)).join() === everybody.join()
    })
  }
  t.same(await answers('client-1', 'own-node'), ['echo-1'], 'the node is the same')
  t.equal((await withYaml('apply', node('zone-a'))).code, 0)
  await until('two zones again', async () => {
    return (await answers('client-1', 'zone')).join() === 'echo-1'
  })
  const restore = await remove('echo-1')
  for (const name of ['zone', 'zone-l7', 'own-node'])
    t.same(
      await answers('client-1', name),
      ['echo-2', 'echo-3'],
      `${name}: the next best`,
    )
  t.same(await answers('client-1', 'local', 1), refused)
  await restore()
})

t.test('pods that come and go disturb nobody else on their node', async (t) => {
  const running = await load('client-1', 'http://solo/', 'new', 2)
  for (let round = 0; round < 3; round++) await (await remove('echo-1'))()
  const { ok, errors, maxGapMs } = await running.stop()
  t.ok(ok > 100, `${ok} requests`)
  t.same(errors, {})
  t.ok(maxGapMs < 900, `${maxGapMs} ms: less than the first retransmit of a SYN`)
})

t.test('session affinity', async (t) => {
  for (const name of ['sticky', 'sticky-l7']) {
    // Some seconds of requests and a time-out of 1 s: each use counts from anew.
    const request = `curl -sf -m 5 http://${name}/ || echo "exit $?"; sleep 0.2`
    const { out } = await shell('client-1', `for i in $(seq 12); do ${request}; done`)
    const own = [...new Set(out.split('\n'))]
    t.equal(own.length, 1, `${name}: ${own.join(', ')}`)
    const [gone = ''] = own
    const restore = await remove(gone)
    const next = await answers('client-1', name)
    t.equal(next.length, 1, 'it moves on when its endpoint goes')
    t.ok(next[0] !== gone && everybody.includes(next[0] ?? ''), next.join())
    await restore()
  }
  // A new choice of three each time: that all are the same for 15 s is 3 to the power of 10 against.
  const seen = new Set<string>()
  await until(
    'another endpoint after the time-out',
    async () => {
      await shell('client-1', 'sleep 1.2')
      for (const name of await answers('client-1', 'sticky', 1)) seen.add(name)
      return seen.size > 1
    },
    30_000,
  )
})

t.test('an endpoint that terminates serves as the last resort', async (t) => {
  await must(['lab', 'delete', 'pod/solo', '-n', 'e2e'])
  // It ignores SIGTERM and has five seconds.
  for (const name of ['solo', 'solo-l7']) {
    const got = await answers('client-1', name, 3)
    t.same(got, ['solo'], name)
  }
  await until('it is gone', async () => {
    return (await answers('client-1', 'solo', 1)).join() === refused.join()
  })
  t.same(await answers('client-1', 'solo-l7', 1), ['exit 22'])
  await must(['lab', 'apply', '-f', join(directory, 'pods.yaml')])
  await until('it is back', async () => {
    return (await answers('client-1', 'solo', 1)).join() === 'solo'
  })
})

t.test('UDP whose endpoint goes away', async (t) => {
  const { clusterIP } = (await get('service', 'sticky')).spec
  for (const mode of ['unconnected', 'connected']) {
    const child = start(
      'client-1',
      'node',
      `${directory}/app/udp.ts`,
      mode,
      clusterIP,
      '53',
    )
    const lines: string[] = []
    child.stdout?.on('data', (data) => lines.push(...String(data).trim().split('\n')))
    const ask = async (): Promise<string> => {
      const before = lines.length
      child.stdin?.write('x\n')
      await until('an answer', () => lines.length > before)
      return lines[before] ?? ''
    }
    const first = await ask()
    t.match(first, new RegExp(`^${clusterIP}:53 echo-`), mode)
    const pod = first.split(' ')[1] ?? ''
    t.equal(await ask(), first, 'datagrams of a socket stay with an endpoint')
    const restore = await remove(pod)
    if (mode === 'unconnected') {
      const next = await ask()
      t.match(next, new RegExp(`^${clusterIP}:53 echo-`), 'the next endpoint')
      t.not(next, first)
    } else {
      t.equal(await ask(), 'EPERM', 'the socket is told, so that it connects again')
    }
    child.kill()
    await restore()
  }
})
