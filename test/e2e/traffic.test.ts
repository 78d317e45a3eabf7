// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Real software through the mesh, from a pod on the same node and from one on the other.
import t from 'tap'
import { debug, exec, manifests, must, pillion, shell } from '../support/lab.ts'

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', manifests, '--nodes', '2'], 180_000)
})
t.teardown(() => pillion(['lab', 'down']))

const clients = ['client-1', 'client-2']

for (const client of clients) {
  t.test(`${client}: nginx by name, by both families`, async (t) => {
    const many = await shell(
      client,
      'for i in $(seq 20); do curl -4 -s -m 5 http://web/; done',
    )
    const seen = new Set(many.out.split('\n'))
    t.equal(seen.size, 2, `both endpoints answer: ${[...seen].join(', ')}`)
    const v6 = await exec(client, 'curl', '-6', '-s', '-m', '5', 'http://web/')
    t.match(v6.out, /^nginx fd00/, 'IPv6')
    const peer = await exec(
      client,
      'curl',
      '-4',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{remote_ip}',
      'http://web/',
    )
    t.match(peer.out, /^10\.96\./, 'the application sees the service address')
  })

  t.test(`${client}: wrk runs without errors`, async (t) => {
    const { out } = await exec(client, 'wrk', '-t1', '-c8', '-d2', 'http://web/')
    t.match(out, /Requests\/sec/)
    t.notMatch(out, /Socket errors|Non-2xx/)
  })

  t.test(`${client}: Redis`, async (t) => {
    t.equal(
      (await exec(client, 'redis-cli', '-h', 'redis', 'set', 'k', client)).out,
      'OK',
    )
    t.equal((await exec(client, 'redis-cli', '-h', 'redis', 'get', 'k')).out, client)
    const bench = await exec(
      client,
      'redis-benchmark',
      '-h',
      'redis',
      '-n',
      '20000',
      '-q',
      '-t',
      'get',
    )
    t.match(bench.out, /requests per second/)
  })

  t.test(`${client}: MariaDB speaks first, and at once`, async (t) => {
    const script =
      'time -p mariadb --no-defaults -h db -P 3306 -u root --skip-ssl -N -e "select 40+2"'
    const { out, err } = await exec(client, 'bash', '-c', script)
    t.equal(out, '42', err)
    const seconds = Number(/real (\S+)/.exec(err)?.[1])
    t.ok(seconds < 1, `${seconds} s: no protocol detection waits for the client`)
  })

  t.test(`${client}: HTTP through the proxy`, async (t) => {
    const { out, err } = await exec(
      client,
      'curl',
      '-s',
      '-m',
      '5',
      'http://http/hello?x=1',
    )
    const answer = JSON.parse(out || '{}') as {
      path: string
      headers: Record<string, string>
    }
    t.equal(answer.path, '/hello?x=1', err)
    t.match(answer.headers['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
    const big = await shell(
      client,
      'head -c 20000000 /dev/urandom > /tmp/pillion-e2e-big; ' +
        'curl -s -m 20 --data-binary @/tmp/pillion-e2e-big http://http/ | cmp - /tmp/pillion-e2e-big && echo same; ' +
        'rm -f /tmp/pillion-e2e-big',
    )
    t.equal(big.out, 'same', '20 MB echoed')
  })

  t.test(`${client}: a failed request is retried, a slow one is cut`, async (t) => {
    const key = `${client}-${Date.now()}`
    const { out } = await exec(
      client,
      'curl',
      '-s',
      '-m',
      '5',
      '-w',
      ' %{http_code}',
      `http://http/flaky/${key}/1`,
    )
    t.match(out, / 200$/)
    const slow = await exec(
      client,
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      'http://http/slow',
    )
    t.equal(slow.out, '504')
  })

  t.test(`${client}: HTTP/2`, async (t) => {
    const { out } = await exec(
      client,
      'h2load',
      '-n',
      '2000',
      '-c',
      '2',
      '-m',
      '10',
      'http://h2/',
    )
    t.match(out, /2000 succeeded, 0 failed, 0 errored/)
  })

  t.test(`${client}: gRPC is balanced per call on one connection`, async (t) => {
    const { out, err } = await exec(
      client,
      'node',
      `${manifests}/app/grpc-client.ts`,
      'grpc:50051',
      '200',
    )
    const { pods, streamed } = JSON.parse(out || '{}') as {
      pods: Record<string, number>
      streamed: number
    }
    t.equal(Object.keys(pods ?? {}).length, 2, err)
    for (const [pod, count] of Object.entries(pods ?? {})) {
      t.match(pod, /^grpc-/)
      t.ok(count > 40, `${pod}: ${count} of 200`)
    }
    t.equal(streamed, 100)
  })
}

for (const client of clients) {
  t.test(`${client}: UDP: DNS crosses the mesh, over TCP too`, async (t) => {
    const dig = ['dig', '+short', '+tries=1', '+time=1', 'web.e2e.svc.cluster.local']
    const udp = await exec(client, ...dig)
    t.match(udp.out, /^10\.96\./)
    const tcp = await exec(client, ...dig, '+tcp')
    t.equal(tcp.out, udp.out)
  })
}

t.test('pods reach each other by address, across nodes', async (t) => {
  const pods = JSON.parse(
    await must(['lab', 'get', 'pods', '-n', 'e2e', '-o', 'json']),
  ) as {
    items: { metadata: { name: string }; status: { podIPs: { ip: string }[] } }[]
  }
  const web = pods.items.find((pod) => pod.metadata.name === 'web-2')
  for (const { ip } of web?.status.podIPs ?? []) {
    const host = ip.includes(':') ? `[${ip}]` : ip
    const { out } = await exec(
      'client-1',
      'curl',
      '-s',
      '-m',
      '5',
      `http://${host}:8080/`,
    )
    t.equal(out, `nginx ${ip}`)
  }
})

t.test('what is in the maps is what was wanted', async (t) => {
  for (const node of ['node-1', 'node-2']) {
    t.same(await debug(node, '/debug/diff'), [], node)
  }
})

t.test('flows were seen, with names', async (t) => {
  const lines = await must(['flows', '--node', 'node-1', '-o', 'json'])
  const flows = lines.split('\n').map((line) => JSON.parse(line) as Record<string, never>)
  t.ok(
    flows.some((flow) => flow['kind'] === 'close' && flow['service']),
    'a closed flow',
  )
})

t.test('the proxy refuses connections that the kernel did not redirect', async (t) => {
  const { code } = await shell(
    'client-1',
    'curl -s -m 3 -H "Host: http" http://10.244.1.1:15001/',
  )
  t.not(code, 0)
})
