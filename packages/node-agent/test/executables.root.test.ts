// SPDX-License-Identifier: Apache-2.0
// timeout: 60
// Looking at executables from where the agent is on a real cluster: a pid namespace of its own, the host's proc mounted read only, and
// no powers but those of its container. Root only.
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ExeVerdict } from '@pillion/ebpf-l4'
import t, { type Test } from 'tap'
import { kernelDevice, type Inspection } from '../src/executables.ts'
import type { Feature } from '../src/features.ts'

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
  copyFileSync('/usr/bin/sleep', path)
  // Its command line leads nowhere: in another pod's file system it would not either.
  const child = spawn(path, ['60'], { stdio: 'ignore', argv0: 'server', uid, gid: uid })
  t.teardown(() => child.kill('SIGKILL'))
  return { pid: child.pid ?? 0, path }
}

/** As in the DaemonSet's container, with `capabilities`; proc is remounted for the new pid namespace. */
function asAgent(t: Test, capabilities: string, target: { pid: number; path: string }) {
  const hostProc = join(t.testdirName, `host-proc-${target.pid}`)
  mkdirSync(hostProc)
  const { ino, dev } = statSync(target.path, { bigint: true })
  const inspect = join(import.meta.dirname, 'support/inspect.ts')
  const bounding = capabilities.split(',').map((name) => `+${name}`)
  const command = [
    'mount --make-rprivate /',
    `mount --bind /proc '${hostProc}'`,
    `mount -o remount,bind,ro '${hostProc}'`,
    'mount -t proc proc /proc',
    `exec setpriv --bounding-set=-all,${bounding.join()} --inh-caps=-all --ambient-caps=-all --no-new-privs '${process.execPath}' '${inspect}' '${hostProc}' ${target.pid} ${ino} ${kernelDevice(dev)}`,
  ].join(' && ')
  const { stdout, stderr } = spawnSync(
    'unshare',
    ['--pid', '--mount', '--fork', 'sh', '-c', command],
    { encoding: 'utf8' },
  )
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
  t.match(found, { verdict: ExeVerdict.EXE_SPLICES })
})
