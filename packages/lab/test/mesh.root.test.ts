// SPDX-License-Identifier: Apache-2.0
// The lab's part in running the mesh: processes with the privileges they should have, restarts, admission, status,
// and nothing left behind. What the mesh does with traffic is tested in test/e2e.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkout, pinRoot, systemCgroup } from '../src/paths.ts'
import { remains } from '../src/teardown.ts'
import { claimMachine, eventually, pillion } from './support/pillion.ts'

claimMachine(t)

const shop = join(checkout, 'examples/shop')

interface Status {
  ready: boolean
  nodes: { node: string; upToDate: boolean }[]
  services: { service: string; carriedBy: string; protocol: string }[]
}

async function status(): Promise<Status> {
  const { out } = await pillion('status', '-o', 'json')
  return JSON.parse(out) as Status
}

function pids(node: string, name: string): number[] {
  const procs = readFileSync(join(systemCgroup(node, name), 'cgroup.procs'), 'utf8')
  return procs.trim().split('\n').filter(Boolean).map(Number)
}

function processStatus(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'utf8')
}

t.before(async () => {
  const { code, err } = await pillion('lab', 'up', shop)
  t.equal(code, 0, err)
})

t.teardown(async () => {
  await pillion('lab', 'down')
})

t.test('up returns when every node has the configuration', async (t) => {
  const { ready, nodes, services } = await status()
  t.ok(ready)
  t.same(
    nodes.map(({ node, upToDate }) => [node, upToDate]),
    [
      ['node-1', true],
      ['node-2', true],
    ],
  )
  const carried = new Map(services.map((row) => [row.service, row]))
  t.match(carried.get('shop/web:80/TCP'), { carriedBy: 'kernel' })
  t.match(carried.get('shop/api:80/TCP'), { carriedBy: 'proxy', protocol: 'http' })
  t.match(carried.get('shop/pricing:50051/TCP'), { carriedBy: 'proxy', protocol: 'grpc' })
})

t.test('the proxy has its own user and no capability, the agent only four', async (t) => {
  const [proxy = 0] = pids('node-1', 'proxy')
  t.match(processStatus(proxy), /Uid:\t15021\t15021/)
  t.match(processStatus(proxy), /CapPrm:\t0{16}\nCapEff:\t0{16}\nCapBnd:\t0{16}/)
  const [agent = 0] = pids('node-1', 'agent')
  // NET_ADMIN, SYS_PTRACE (for Auto), PERFMON, BPF
  const bits = (1n << 12n) | (1n << 19n) | (1n << 38n) | (1n << 39n)
  t.match(processStatus(agent), `CapPrm:\t${bits.toString(16).padStart(16, '0')}`)
})

t.test('the shop is open', async (t) => {
  const { out, err } = await pillion(
    ...[
      'lab',
      'exec',
      '-n',
      'shop',
      'client',
      '--',
      'curl',
      '-sS',
      '-m',
      '5',
      'http://web',
    ],
  )
  t.match(out, /"offer":\{"item":"pillion","cents":700/, err)
})

t.test('a process of the mesh that dies is started again', async (t) => {
  for (const name of ['agent', 'proxy']) {
    const [pid = 0] = pids('node-2', name)
    process.kill(pid, 'SIGKILL')
    await eventually(`another ${name}`, async () => {
      const [other] = pids('node-2', name)
      return other !== undefined && other !== pid ? true : undefined
    })
  }
  await eventually('everything in force again', async () => {
    return (await status()).ready ? true : undefined
  })
})

t.test('apply refuses what the operator would refuse', async (t) => {
  const route = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'bad', namespace: 'shop' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 80 }],
      rules: [{ backendRefs: [{ name: 'web', port: 99_999 }] }],
    },
  }
  const file = join(t.testdir({ 'bad.yaml': JSON.stringify(route) }), 'bad.yaml')
  const { code, err } = await pillion('lab', 'apply', '-f', file)
  t.equal(code, 1)
  t.match(err, /bad\.yaml: HTTPRoute shop\/bad: spec\.rules\[0\]\.backendRefs\[0\]\.port/)
  t.match(await pillion('lab', 'get', 'httproute', 'bad'), { code: 1 })
})

t.test('down removes pins too', async (t) => {
  t.ok(existsSync(join(pinRoot, 'node-1')))
  t.equal((await pillion('lab', 'down')).code, 0)
  t.same(remains(), [])
})
