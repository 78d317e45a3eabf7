// SPDX-License-Identifier: Apache-2.0
// Uninstall, on the real kernel: a running agent is in the way, a stopped one leaves what is then removed. Root only.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AgentProcess, cleanUp, makePlace, save, type Place } from './support/agent.ts'
import { resourcesOf, shop } from './support/resources.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root: loads BPF programs'
const main = join(import.meta.dirname, '../src/main.ts')

t.test('uninstall', { skip }, uninstalls)
t.test('the proxy is found by the uid of its pod', { skip }, byPod)

function uninstall({ dir, cgroupRoot, pinDir }: Place) {
  const { status, stdout, stderr } = spawnSync(
    'setpriv',
    [
      // As in its container: root with three capabilities.
      ...['--bounding-set=-all,+bpf,+net_admin,+perfmon', '--inh-caps=-all'],
      ...['--no-new-privs', process.execPath],
      ...[main, '--uninstall', '--pin-dir', pinDir],
      ...['--cgroup-root', cgroupRoot, '--state-dir', join(dir, 'state')],
    ],
    { encoding: 'utf8' },
  )
  return { status, lines: stdout.trim().split('\n'), stderr }
}

/** Names of our programs that the kernel still has attached below a cgroup, by somebody else's eyes. */
function attached(cgroupRoot: string): string[] {
  const text = execFileSync('bpftool', ['-j', 'cgroup', 'tree', cgroupRoot], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  })
  return [...text.matchAll(/"name":"(pl_\w+)"/g)].map(([, name = '']) => name)
}

async function uninstalls(t: Test): Promise<void> {
  const place = makePlace()
  await save(place, resourcesOf(shop))
  const agent = new AgentProcess(place)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  t.ok(attached(place.cgroupRoot).includes('pl_connect4'), 'there is something to remove')
  const refused = uninstall(place)
  t.match(refused, {
    status: 1,
    stderr: /is driven by another agent \(process \d+\); stop that one/,
  })
  t.ok(attached(place.cgroupRoot).includes('pl_connect4'), 'and nothing was removed')

  await agent.stop('SIGKILL')
  const done = uninstall(place)
  t.equal(done.status, 0, done.stderr)
  t.ok(done.lines.includes(`removed ${place.pinDir}/links/pl_connect4`))
  t.ok(done.lines.some((line) => /maps-\w+\/pl_services$/.test(line)))
  t.ok(done.lines.some((line) => line.endsWith('state/resources.pb')))
  t.match(done.lines.at(-1), /^clean: /)
  t.same(attached(place.cgroupRoot), [], 'nothing is left on a hook')
  t.notOk(existsSync(place.pinDir), 'nor in bpffs')
  t.same(readdirSync(join(place.dir, 'state')), [])

  const again = uninstall(place)
  t.match(again, { status: 0, lines: [/^clean: /] })
  t.equal(again.lines.length, 1, 'a second time finds nothing')
}

async function byPod(t: Test): Promise<void> {
  const place = makePlace()
  await save(place, resourcesOf(shop))
  const pod = join(place.cgroupRoot, 'kubepods/burstable/poduid-node')
  mkdirSync(pod, { recursive: true })
  const agent = new AgentProcess(place, ['--proxy-pod-uid', 'uid-node'], [], true)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    cleanUp(place)
  })
  await agent.ready()
  const tree = execFileSync('sh', [
    '-c',
    `PATH=$PATH:/usr/sbin bpftool cgroup show ${pod}`,
  ])
  t.match(String(tree), /pl_getsockopt/)
}
