// SPDX-License-Identifier: Apache-2.0
// timeout: 60
// Looking at executables from where the agent is on a real cluster: a pid namespace of its own, the host's proc mounted read only, and
// no powers but those of its container. Root only.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ExeVerdict } from '@pillion/ebpf-l4'
import t, { type Test } from 'tap'
import { kernelDevice, type Inspection } from '../src/executables.ts'
import type { Feature } from '../src/features.ts'
import { AgentProcess, cleanUp, makePlace, save, until } from './support/agent.ts'
import { resourcesOf, shop } from './support/resources.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root: mounts and namespaces'

interface Answer {
  readonly feature: Feature
  readonly found: Inspection
  readonly memory: string
  readonly oom: string
  readonly signal: string
}

/** A process of a pod: of another user, in a file that no search path names. */
function strange(t: Test, uid: number): { pid: number; path: string } {
  const path = join(t.testdirName, `server-${uid}`)
  const source =
    '#include <sys/epoll.h>\nint main(void) { return epoll_wait(epoll_create1(0), 0, 1, 60000); }'
  execFileSync('cc', ['-x', 'c', '-', '-o', path], { input: source })
  // Its command line leads nowhere: in another pod's file system it would not either.
  const child = spawn(path, [], { stdio: 'ignore', argv0: 'server', uid, gid: uid })
  t.teardown(() => child.kill('SIGKILL'))
  return { pid: child.pid ?? 0, path }
}

/**
 * A command that runs its arguments as in the DaemonSet's container, with `capabilities`: the host's proc at `hostProc`, which
 * is made, and what is in `hidden` out of sight.
 */
function container(capabilities: string, hostProc: string, hidden?: string): string[] {
  mkdirSync(hostProc, { recursive: true })
  const bounding = capabilities.split(',').map((name) => `+${name}`)
  const script = [
    'mount --make-rprivate /',
    `mount --bind /proc '${hostProc}'`,
    `mount -o remount,bind,ro '${hostProc}'`,
    'mount -t proc proc /proc',
    ...(hidden === undefined ? [] : [`mount -t tmpfs none '${hidden}'`]),
    `exec setpriv --bounding-set=-all,${bounding.join()} --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"`,
  ].join(' && ')
  const own = ['unshare', '--pid', '--mount', '--fork', '--kill-child=SIGTERM']
  return [...own, 'sh', '-c', script, 'sh']
}

function asAgent(t: Test, capabilities: string, target: { pid: number; path: string }) {
  const hostProc = join(t.testdirName, `host-proc-${target.pid}`)
  const { ino, dev } = statSync(target.path, { bigint: true })
  const inspect = join(import.meta.dirname, 'support/inspect.ts')
  const [command = '', ...args] = [
    ...container(capabilities, hostProc),
    ...[process.execPath, inspect, hostProc],
    ...[target.pid, ino, kernelDevice(dev)].map(String),
  ]
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  try {
    return JSON.parse(stdout) as Answer
  } catch (cause) {
    throw new Error(`${stdout}${stderr}`, { cause })
  }
}

const three = 'bpf,net_admin,perfmon'

t.test('with the right to trace', { skip }, async (t) => {
  t.testdir({})
  for (const uid of [0, 12_345]) {
    const target = strange(t, uid)
    const { feature, found, ...harm } = asAgent(t, `${three},sys_ptrace`, target)
    t.match(feature, { state: 'works' })
    t.match(found, { verdict: ExeVerdict.EXE_PLAIN }, `uid ${uid}: ${found.reason}`)
    t.same(harm, { memory: 'EROFS', oom: 'EROFS', signal: 'ESRCH' })
  }
})

t.test('without it: nobody is plain, and it says why', { skip }, async (t) => {
  t.testdir({})
  const { feature, found } = asAgent(t, three, strange(t, 12_345))
  t.match(feature, { state: 'degraded', reason: /CAP_SYS_PTRACE is missing/ })
  t.match(found, { verdict: ExeVerdict.EXE_UNFIT })
})

/** Listens, which makes the kernel ask for its executable. */
const listener = `#include <sys/epoll.h>

#include <sys/socket.h>
#include <unistd.h>
int main(void) { listen(socket(AF_INET, SOCK_STREAM, 0), 1); epoll_wait(epoll_create1(0), 0, 1, -1); pause(); }`

/** unshare(1) heeds no SIGTERM; when it is gone, the agent gets one. */
async function end(agent: AgentProcess): Promise<void> {
  await agent.stop('SIGKILL')
  await until(async () =>
    agent.get('/healthz').then(
      () => false,
      () => true,
    ),
  )
}

t.test('an agent in a pod answers the kernel, once it may look', { skip }, async (t) => {
  const place = makePlace()
  const hidden = t.testdir({})
  const server = join(hidden, 'server')
  execFileSync('cc', ['-x', 'c', '-', '-o', server], { input: listener })
  await save(place, resourcesOf(shop))
  const pod = join(place.cgroupRoot, 'kubepods/poduid-api-1')
  mkdirSync(pod)
  const hostProc = join(place.dir, 'host-proc')
  const start = async (capabilities: string): Promise<AgentProcess> => {
    const wrapper = container(capabilities, hostProc, hidden)
    const extra = ['--event-poll', '10', '--proc-dir', hostProc]
    const agent = new AgentProcess(place, extra, wrapper)
    t.teardown(() => agent.stop('SIGKILL'))
    await agent.ready()
    return agent
  }
  const processes: ChildProcess[] = []
  t.teardown(async () => {
    for (const child of processes) child.kill('SIGKILL')
    await until(() =>
      /^populated 0$/m.test(readFileSync(join(pod, 'cgroup.events'), 'utf8')),
    )
    cleanUp(place)
  })
  /** What the agent found out of a server that begins to listen now. */
  const found = async (agent: AgentProcess): Promise<Inspection> => {
    const inPod = 'echo $$ > "$0/cgroup.procs" && exec "$1"'
    processes.push(spawn('sh', ['-c', inPod, pod, server], { stdio: 'ignore' }))
    const key = `:${statSync(server).ino}`
    let inspection: Inspection | undefined
    await until(
      async () => {
        const all = await agent.json<Record<string, Inspection>>('/debug/executables')
        inspection = Object.entries(all).find(([each]) => each.endsWith(key))?.[1]
        return inspection !== undefined
      },
      () => agent.output,
    )
    return inspection as Inspection
  }

  const without = await start(three)
  t.match(await found(without), { verdict: ExeVerdict.EXE_UNFIT })
  t.match(await without.json('/debug/features'), [{ state: 'degraded' }])
  t.equal(without.output.split('a feature is degraded').length, 2, 'said once')
  t.match((await without.get('/metrics')).text, /pillion_feature_works\{.*degraded"\} 0/)
  await end(without)

  const upgraded = await start(`${three},sys_ptrace`)
  const { verdict, reason, path } = await found(upgraded)
  t.equal(verdict, ExeVerdict.EXE_PLAIN, reason)
  t.match(path, new RegExp(`^${hostProc}/\\d+/exe$`))
  t.match(await upgraded.json('/debug/features'), [{ state: 'works' }])
  await end(upgraded)
})
