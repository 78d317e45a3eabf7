// SPDX-License-Identifier: Apache-2.0
// A real lab without mesh: what design 7 promises of pods, addresses, names, probes and leaving nothing behind.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { nodePaths, paths } from '../src/paths.ts'
import { remains } from '../src/teardown.ts'
import { manifestFiles, manifests } from './support/fixture.ts'
import { claimMachine, eventually, pillion } from './support/pillion.ts'

claimMachine(t)

const dir = t.testdir(manifestFiles())

interface Pod {
  metadata: { name: string; uid: string }
  spec: { nodeName: string }
  status: {
    podIPs: { ip: string }[]
    containerStatuses: { ready: boolean; restartCount: number }[]
  }
}

async function pods(): Promise<Pod[]> {
  const { out } = await pillion('lab', 'get', 'pods', '-n', 't', '-o', 'json')
  return (JSON.parse(out) as { items: Pod[] }).items
}

async function podNamed(name: string): Promise<Pod> {
  const found = (await pods()).find(({ metadata }) => metadata.name === name)
  if (found === undefined) throw new Error(`no pod ${name}`)
  return found
}

const inPod = (pod: string, ...argv: string[]) =>
  pillion('lab', 'exec', '-n', 't', pod, '--', ...argv)

const curl = (pod: string, url: string) => inPod(pod, 'curl', '-sS', '-m', '5', url)

t.before(async () => {
  const { code, err } = await pillion(
    'lab',
    'up',
    dir,
    '--mesh',
    'off',
    '--timeout',
    '30',
  )
  t.equal(code, 0, err)
})

t.teardown(async () => {
  await pillion('lab', 'down')
})

t.test('a second lab is refused', async (t) => {
  const { code, err } = await pillion('lab', 'up', dir)
  t.equal(code, 1)
  t.match(err, /a lab of .* is running/)
})

t.test('pods are where they should be and see their own world', async (t) => {
  const web = await podNamed('web')
  t.equal(web.spec.nodeName, 'node-1')
  t.equal((await podNamed('client-2')).spec.nodeName, 'node-2')
  const spread = (await pods()).filter(({ metadata }) =>
    metadata.name.startsWith('many-'),
  )
  t.same(spread.map(({ spec }) => spec.nodeName).toSorted(), ['node-1', 'node-2'])
  const { out } = await inPod(
    'web',
    'sh',
    '-c',
    'hostname; cat /proc/self/cgroup /etc/resolv.conf',
  )
  t.match(out, `/pillion-lab/node-1/kubepods/pod${web.metadata.uid}`)
  t.match(out, /^web\n/)
  t.match(out, 'search t.svc.cluster.local svc.cluster.local cluster.local')
  t.notMatch(
    readFileSync('/etc/resolv.conf', 'utf8'),
    'cluster.local',
    'the host keeps its own',
  )
})

t.test('pods reach pods by address: same node, other node, both families', async (t) => {
  const web = await podNamed('web')
  for (const client of ['client-1', 'client-2']) {
    const self = await podNamed(client)
    for (const [i, { ip }] of web.status.podIPs.entries()) {
      const host = ip.includes(':') ? `[${ip}]` : ip
      const { out, err } = await curl(client, `http://${host}:8080/`)
      t.match(out, '"pod":"web"', `${client} to ${ip}: ${err}`)
      t.match(out, self.status.podIPs[i]?.ip ?? '', 'the source address is the pod’s own')
      t.match(out, `"dir":"${dir}"`)
    }
  }
})

t.test('headless names resolve to ready pods, others do not exist', async (t) => {
  const { out } = await curl('client-2', 'http://web:8080/')
  t.match(out, '"pod":"web"')
  t.match(
    (await curl('client-1', 'http://web.t.svc.cluster.local:8080/')).out,
    '"pod":"web"',
  )
  const none = await curl('client-1', 'http://none:8080/')
  t.equal(none.code, 6, 'could not resolve host')
})

t.test('nothing leads out of the lab', async (t) => {
  const { code } = await curl('client-1', 'http://192.0.2.1/')
  t.equal(code, 7, 'refused by routing, not by a time-out')
})

t.test('exec: exit codes, prefixes, deployments, nodes, errors', async (t) => {
  t.equal((await inPod('client-1', 'sh', '-c', 'exit 7')).code, 7)
  t.equal((await inPod('client-1', 'sh', '-c', 'kill -9 $$')).code, 137)
  t.equal((await inPod('deploy/many', 'true')).code, 0)
  t.equal((await inPod('exe', 'true')).code, 0)
  t.match(await inPod('client', 'true'), { code: 1, err: /client-1, client-2/ })
  t.match(await inPod('nobody', 'true'), { code: 1, err: /there is no pod t\/nobody/ })
  const node = await pillion('lab', 'exec', 'node/node-2', '--', 'ip', '-br', 'addr')
  t.match(node.out, '10.245.0.2/24')
  t.match(node.out, 'fd00:10:244:2::1/64')
})

t.test('readiness decides about endpoints', async (t) => {
  const addresses = async () => (await inPod('client-1', 'getent', 'ahostsv4', 'web')).out
  const mark = '/run/pillion-lab/not-ready'
  writeFileSync(mark, '')
  await eventually('no endpoint', async () =>
    (await addresses()) === '' ? true : undefined,
  )
  rmSync(mark)
  await eventually('an endpoint', async () =>
    (await addresses()) === '' ? undefined : true,
  )
})

t.test('a crashed process starts again', async (t) => {
  await curl('client-1', 'http://web:8080/crash')
  const web = await eventually('restart', async () => {
    const pod = await podNamed('web')
    const [status] = pod.status.containerStatuses
    return status?.ready === true && status.restartCount === 1 ? pod : undefined
  })
  t.match(
    (await curl('client-2', `http://${web.status.podIPs[0]?.ip}:8080/`)).out,
    '"pod":"web"',
  )
})

t.test(
  'apply changes what changed; nothing is applied when something is wrong',
  async (t) => {
    const file = join(dir, 'deployment.yaml')
    const deployment = structuredClone(manifests['deployment']) as {
      spec: { replicas: number }
    }
    deployment.spec.replicas = 3
    const count = async () =>
      (await pods()).filter(({ metadata }) => metadata.name.startsWith('many-')).length
    const broken = { ...manifests['web'], spec: { nodeName: 'node-7', containers: [{}] } }
    writeFileSync(file, `${JSON.stringify(deployment)}\n---\n${JSON.stringify(broken)}\n`)
    const refused = await pillion('lab', 'apply', '-f', file)
    t.equal(refused.code, 1)
    t.match(refused.err, /deployment\.yaml#2: Pod t\/web: spec\.nodeName: "node-7"/)
    t.match(refused.err, /spec\.containers\[0\]\.command/)
    t.equal(await count(), 2)
    writeFileSync(file, JSON.stringify(deployment))
    t.match(
      (await pillion('lab', 'apply', '-f', dir)).out,
      /deployment\/many \(t\) configured/,
    )
    await eventually('three', async () => ((await count()) === 3 ? true : undefined))
    t.match((await pillion('lab', 'delete', 'deploy/many', '-n', 't')).out, 'deleted')
    await eventually('none', async () => ((await count()) === 0 ? true : undefined))
    t.match(await pillion('lab', 'delete', 'deploy/many', '-n', 't'), { code: 1 })
  },
)

t.test('logs', async (t) => {
  await inPod('client-1', 'true')
  const changed = structuredClone(manifests['client-1']) as {
    spec: { containers: { command: string[] }[] }
  }
  changed.spec.containers = [{ command: ['sh', '-c', 'echo hello; exec sleep infinity'] }]
  writeFileSync(join(dir, 'client-1.yaml'), JSON.stringify(changed))
  t.equal((await pillion('lab', 'apply', '-f', join(dir, 'client-1.yaml'))).code, 0)
  await eventually('replaced pod writes', async () => {
    const { out } = await pillion('lab', 'logs', '-n', 't', 'client-1')
    return out.includes('hello') ? true : undefined
  })
})

t.test('after kill -9 of the supervisor, down leaves nothing', async (t) => {
  const { pid } = JSON.parse(readFileSync(paths.state, 'utf8')) as { pid: number }
  process.kill(pid, 'SIGKILL')
  await eventually('the supervisor is gone', async () => {
    const { code } = await pillion('lab', 'get', 'pods')
    return code === 3 ? true : undefined
  })
  t.match(await pillion('lab', 'up', dir), {
    code: 1,
    err: /left behind.*pillion lab down/,
  })
  t.equal((await pillion('lab', 'down')).code, 0)
  t.same(remains(), [])
  t.notOk(existsSync(nodePaths('node-1').dir))
})

t.test('a lab that does not come up says why, and is taken down', async (t) => {
  const broken = structuredClone(manifests['client-1']) as {
    spec: { containers: object[] }
  }
  broken.spec.containers = [
    {
      command: ['sh', '-c', 'echo no such database >&2; exit 3'],
      // Without a probe a pod is ready from its start to its crash, and up may see just that.
      readinessProbe: { tcpSocket: { port: 1 } },
    },
  ]
  const bad = t.testdir({ 'a.yaml': JSON.stringify(broken) })
  const { code, err } = await pillion('lab', 'up', bad, '--mesh', 'off', '--timeout', '2')
  t.equal(code, 4, 'not in time')
  t.match(err, /pod t\/client-1 on node-1: exit code 3/)
  t.match(err, /no such database/)
  t.same(remains(), [])
})
