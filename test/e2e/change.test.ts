// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Changes while traffic flows: a service becomes L7 and back, policy, new pods, bad manifests.
import t from 'tap'
import {
  debug,
  exec,
  load,
  manifests,
  must,
  pillion,
  shell,
  sleep,
  start,
  until,
  withYaml,
} from '../support/lab.ts'

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', manifests, '--nodes', '2'], 180_000)
})
t.teardown(() => pillion(['lab', 'down']))

const declared = `
apiVersion: mesh.pillion.dev/v1alpha1
kind: L7Service
metadata: { name: plain, namespace: e2e }
spec: { targetRef: { name: plain }, protocol: http }
`

/** In the pod, so that starting a command does not count: when did the first answer of the wanted kind come? */
function watchPlain(): {
  since(startMs: number, l7: boolean): Promise<number>
  stop(): void
} {
  const script =
    'while :; do echo "$(date +%s%3N) $(curl -s -m 2 http://plain/ | grep -c traceparent)"; sleep 0.02; done'
  const child = start('client-1', 'sh', '-c', script)
  let out = ''
  child.stdout?.on('data', (data) => (out += data))
  return {
    since: async (startMs, l7) => {
      let found: number | undefined
      await until(l7 ? 'L7' : 'L4', () => {
        const lines = out.split('\n').map((line) => line.split(' ').map(Number))
        found = lines.find(
          ([at = 0, marked]) => at > startMs && marked === Number(l7),
        )?.[0]
        return found !== undefined
      })
      return (found ?? Infinity) - startMs
    },
    stop: () => child.kill(),
  }
}

t.test('a service becomes L7 within a second, and back; nothing breaks', async (t) => {
  const fresh = await load('client-1', 'http://plain/', 'new')
  const kept = await load('client-1', 'http://plain/', 'keep')
  const plain = watchPlain()
  await plain.since(Date.now(), false)
  t.equal((await withYaml('apply', declared)).code, 0)
  const toL7 = await plain.since(Date.now(), true)
  t.ok(toL7 < 1000, `to L7 in ${toL7} ms`)
  await sleep(300)
  t.equal((await withYaml('delete', declared)).code, 0)
  const toL4 = await plain.since(Date.now(), false)
  t.ok(toL4 < 1000, `and back in ${toL4} ms`)
  plain.stop()
  for (const running of [fresh, kept]) {
    const { ok, errors } = await running.stop()
    t.ok(ok > 100, `${ok} requests`)
    t.same(errors, {})
  }
})

const deny = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: e2e }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress]
  ingress:
    - from: [{ podSelector: { matchLabels: { app: nobody } } }]
`

t.test(
  'a policy under load: refused at once, open connections are cut and reported',
  async (t) => {
    const talker = start(
      'client-1',
      'sh',
      '-c',
      'while :; do echo "GET / HTTP/1.1\r\nHost: x\r\n\r"; sleep 0.05; done | nc web 80',
    )
    let [text, closed] = ['', false]
    talker.stdout?.on('data', (data) => (text += data))
    talker.on('close', () => (closed = true))
    await until('answers', () => text.includes('nginx'))
    const running = await load('client-1', 'http://web/', 'new')
    await sleep(300)
    t.equal((await withYaml('apply', deny)).code, 0)
    await until('denied', async () => {
      const { out } = await exec(
        'client-1',
        'curl',
        '-s',
        '-o',
        '/dev/null',
        '-w',
        '%{errormsg}',
        'http://web/',
      )
      return /not permitted|Couldn|Failed|refused|denied/i.test(out)
    })
    const { errors } = await running.stop()
    const { EPERM = 0, ...cut } = errors
    t.ok(EPERM > 0, 'the kernel says so at connect')
    const others = Object.values(cut).reduce((sum, count) => sum + count, 0)
    t.ok(others <= 4, `beside the four requests in flight: ${JSON.stringify(cut)}`)
    const { ms, code } = await exec('client-1', 'curl', '-s', '-m', '5', 'http://web/')
    t.not(code, 0)
    t.ok(ms < 3000, 'no time-out')
    const before = text.length
    await sleep(700)
    t.ok(closed || text.length === before, 'the open connection carries nothing more')
    const flows = await must(['flows', '--node', 'node-1', '-o', 'json'])
    const denied = flows
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((flow) => flow['kind'] === 'deny')
    t.match(denied.at(-1)?.['rule'], /NetworkPolicy e2e\/web/)
    t.ok(
      denied.some((flow) => flow['openConnection'] === true),
      'reported',
    )
    const why = await pillion(['explain', 'e2e/client-1', 'e2e/web:80', '-o', 'json'])
    t.match(why.out, /NetworkPolicy e2e\/web/, why.err)
    talker.kill()
    t.equal((await withYaml('delete', deny)).code, 0)
    await until(
      'allowed again',
      async () =>
        (await exec('client-1', 'curl', '-sf', '-m', '2', 'http://web/')).code === 0,
    )
  },
)

t.test('AccessPolicy: a deny by service account wins over everything', async (t) => {
  const accessPolicy = `
apiVersion: mesh.pillion.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-clients, namespace: e2e }
spec:
  selector: { matchLabels: { app: redis } }
  action: Deny
  rules:
    - from: [{ serviceAccounts: [e2e/default] }]
      ports: [{ port: 6379, protocol: TCP }]
`
  const ping = (): ReturnType<typeof exec> =>
    exec('client-1', 'redis-cli', '-h', 'redis', 'ping')
  t.equal((await ping()).out, 'PONG')
  t.equal((await withYaml('apply', accessPolicy)).code, 0)
  await until('denied', async () => (await ping()).out !== 'PONG')
  t.match((await ping()).err, /not permitted/)
  const why = await pillion(['explain', 'e2e/client-1', 'e2e/redis:6379'])
  t.match(why.out, /AccessPolicy e2e\/no-clients/)
  t.equal((await withYaml('delete', accessPolicy)).code, 0)
  await until('allowed again', async () => (await ping()).out === 'PONG')
})

t.test("same-node L7 is no way around the target's policy", async (t) => {
  const policy = deny.replace('app: web', 'app: http').replace('name: web', 'name: http')
  t.equal((await withYaml('apply', policy)).code, 0)
  for (const client of ['client-1', 'client-2']) {
    await until(`${client} is denied`, async () => {
      const { out } = await exec(
        client,
        'curl',
        '-s',
        '-m',
        '3',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        'http://http/',
      )
      return out === '403'
    })
  }
  t.equal((await withYaml('delete', policy)).code, 0)
  await until(
    'allowed again',
    async () =>
      (await exec('client-1', 'curl', '-sf', '-m', '2', 'http://http/')).code === 0,
  )
})

t.test("a pod's first connect is governed by policy", async (t) => {
  t.equal((await withYaml('apply', deny)).code, 0)
  await until(
    'denied',
    async () =>
      (await exec('client-1', 'curl', '-s', '-m', '2', 'http://web/')).code !== 0,
  )
  const pod = (i: number): string => `
apiVersion: v1
kind: Pod
metadata: { name: first-${i}, namespace: e2e, labels: { app: ${i % 2 === 0 ? 'nobody' : 'somebody'} } }
spec:
  nodeName: node-${1 + (i % 2)}
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
    - name: first
      command: [sh, -c, 'curl -s -m 3 -o /dev/null -w "code %{http_code}\\n" http://web/; sleep infinity']
---`
  const count = 8
  const yaml = Array.from({ length: count }, (_, i) => pod(i)).join('\n')
  t.equal((await withYaml('apply', yaml)).code, 0)
  for (let i = 0; i < count; i++) {
    let log = ''
    await until(`first-${i} says something`, async () => {
      log = (await pillion(['lab', 'logs', `first-${i}`, '-n', 'e2e'])).out
      return log.includes('code')
    })
    t.match(log, i % 2 === 0 ? 'code 200' : 'code 000', `first-${i}`)
  }
  await withYaml('delete', yaml)
  await withYaml('delete', deny)
})

t.test('a bad manifest: a clear error, and the last good state stays', async (t) => {
  const bad = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: http, namespace: e2e }
spec:
  parentRefs: [{ group: '', kind: Service, name: http, port: 80 }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: no-slash } }]
      backendRefs: [{ name: http, port: 80 }]
`
  const { code, err, out } = await withYaml('apply', bad, 'bad.yaml')
  t.not(code, 0)
  t.match(
    err + out,
    /bad\.yaml.*HTTPRoute e2e\/http.*spec\.rules\[0\]\.matches\[0\]\.path\.value/s,
  )
  const key = Date.now()
  const answer = await exec(
    'client-1',
    'curl',
    '-s',
    '-w',
    ' %{http_code}',
    `http://http/flaky/${key}/1`,
  )
  t.match(answer.out, / 200$/, 'the good route is still in force')
})

t.test('pods that ran before the agent are meshed from their next connect', async (t) => {
  await must(['lab', 'down'])
  await must(['lab', 'up', manifests, '--nodes', '2', '--mesh', 'off'], 180_000)
  const talker = start(
    'client-1',
    'sh',
    '-c',
    'ip=$(getent hosts web-1 || true); sleep 1',
  )
  await new Promise((resolve) => talker.on('close', resolve))
  t.not(
    (await shell('client-1', 'curl -s -m 2 http://10.96.0.1/')).code,
    0,
    'no mesh, no service address',
  )
  await must(['lab', 'mesh', 'on'], 60_000)
  const { out } = await exec('client-1', 'curl', '-s', '-m', '5', 'http://web/')
  t.match(out, /^nginx/)
  t.same(await debug('node-1', '/debug/diff'), [])
})
