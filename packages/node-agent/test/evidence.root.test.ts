// SPDX-License-Identifier: Apache-2.0
// Real connections of processes in pod cgroups, as the agent tells them. The agent has the three capabilities that the
// lab leaves it, so that nothing here works only for an almighty root. Root only.
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import {
  AgentProcess,
  cleanUp,
  makePlace,
  save,
  until,
  type Place,
} from './support/agent.ts'
import { resourcesOf, shop } from './support/resources.ts'

const run = promisify(execFile)
const skip = process.getuid?.() === 0 ? false : 'needs root: loads BPF programs'
const netns = `pillion-agent-${process.pid}`

const server = `require('net').createServer((s) => s.end('hello')).listen(8080, '10.244.1.3')`
const client = `
  const s = require('net').connect({ host: '10.96.0.7', port: 80, localAddress: '10.244.1.2' })
  s.on('data', (d) => process.stdout.write(String(d)))
  s.on('error', (e) => process.stdout.write(e.code))
`

interface Line {
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly kind: string
}

/** A network with both pods' addresses, and the cgroups of three pods. */
function makePods(t: Test, place: Place): void {
  execFileSync('ip', ['netns', 'add', netns])
  t.teardown(() => {
    execFileSync('ip', ['netns', 'delete', netns])
  })
  for (const args of [
    'link set lo up',
    'address add 10.244.1.2/32 dev lo',
    'address add 10.244.1.3/32 dev lo',
  ]) {
    execFileSync('ip', ['-n', netns, ...args.split(' ')])
  }
  for (const name of ['web-1', 'api-1', 'other-1']) mkdirSync(pod(place, name))
}

function pod(place: Place, name: string): string {
  return join(place.cgroupRoot, `kubepods/poduid-${name}`)
}

/** Arguments of sh(1) that run JavaScript in a pod. */
function inPod(place: Place, name: string, source: string): string[] {
  return [
    '-c',
    `echo $$ > ${pod(place, name)}/cgroup.procs && exec ip netns exec ${netns} "$0" -e "$1"`,
    process.execPath,
    source,
  ]
}

t.test('flows, verdicts, executables, metrics', { skip }, async (t) => {
  const place = makePlace()
  makePods(t, place)
  const here = shop.filter(({ name }) => !name.endsWith('|10.244.2.3:8080'))
  await save(place, resourcesOf(here))
  const agent = new AgentProcess(
    place,
    ['--event-poll', '10'],
    [
      ...['setpriv', '--bounding-set=-all,+bpf,+net_admin,+perfmon', '--inh-caps=-all'],
      '--no-new-privs',
    ],
  )
  const api = execFile('sh', inPod(place, 'api-1', server))
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    await killCgroup(pod(place, 'api-1'))
    api.kill('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  t.equal((await agent.json<unknown[]>('/debug/workloads')).length, 3)

  const call = async (name: string) =>
    (await run('sh', inPod(place, name, client))).stdout
  await until(async () => (await call('web-1')) === 'hello')
  t.equal(await call('other-1'), 'EPERM')

  const flows = async (): Promise<Line[]> =>
    (await agent.get('/debug/flows')).text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line)
  await until(async () => (await flows()).some(({ kind }) => kind === 'deny'))
  await until(async () => (await flows()).some(({ kind }) => kind === 'close'))
  checkFlows(t, await flows())
  t.match(await agent.json('/debug/explain?from=shop/web-1&to=shop/api'), {
    verdict: 'allow',
  })
  t.match(await agent.json('/debug/explain?from=shop/other-1&to=shop/api:80'), {
    ...{ verdict: 'deny', rule: 'NetworkPolicy shop/api (isolates)' },
  })
  const known = Object.values(
    await agent.json<Record<string, { verdict: number; path: string }>>(
      '/debug/executables',
    ),
  )
  t.match(
    known.find(({ path }) => path === process.execPath),
    { verdict: 1 },
  )
  const { text } = await agent.get('/metrics')
  t.match(text, /^istio_tcp_connections_opened_total\{.*source_workload="web"/m)
  t.match(
    text,
    /^pillion_flows_denied_total\{direction="ingress",rule="Netw.*isol.*\} 1$/m,
  )
  t.same(await agent.json('/debug/diff'), [])
  const maps = await agent.json<Record<string, unknown>>('/debug/maps')
  t.match(maps, {
    pl_cgroups: [{}, {}, {}, {}],
    pl_counters: { COUNTER_DENY_INGRESS: 1 },
  })
})

function checkFlows(t: Test, all: readonly Line[]): void {
  const close = all.find(({ kind }) => kind === 'close')
  t.match(close, {
    ...{ service: 'shop/api:80', verdict: 'allow' },
    src: { pod: 'web-1', identity: 300, address: '10.244.1.2' },
    dst: { pod: 'api-1', identity: 301, port: 8080 },
  })
  // "hello"; TCP's own counters take a SYN and a FIN for a byte each.
  const { bytesSent = -1, bytesReceived = -1 } = close ?? {}
  t.ok(bytesSent >= 0 && bytesSent <= 2, `${bytesSent} bytes sent`)
  t.ok(bytesReceived >= 5 && bytesReceived <= 7, `${bytesReceived} bytes received`)
  t.match(
    all.find(({ kind }) => kind === 'deny'),
    {
      ...{ direction: 'ingress', rule: 'NetworkPolicy shop/api (isolates)' },
      src: { pod: 'other-1', identity: 302 },
      ...{ dst: { pod: 'api-1' }, service: 'shop/api:80' },
    },
  )
}

async function killCgroup(path: string): Promise<void> {
  writeFileSync(join(path, 'cgroup.kill'), '1')
  await until(() =>
    readFileSync(join(path, 'cgroup.events'), 'utf8').includes('populated 0'),
  )
}
