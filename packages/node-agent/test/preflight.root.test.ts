// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { parsePreflight } from '../src/options.ts'
import { PreflightProcess, preflightText } from '../src/preflight.ts'

const main = join(import.meta.dirname, '../src/main.ts')
const objectDir = join(import.meta.dirname, '../../../bpf/.output')
const pinDir = `/sys/fs/bpf/pillion-test-preflight-${process.pid}`

const run = (...args: string[]) =>
  spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })

t.test(
  'where things are: of the command line, or as an installation has it',
  async (t) => {
    t.equal(parsePreflight(['--node=a'], {}), undefined)
    t.match(parsePreflight(['--preflight'], {}), {
      ...{ pinDir: '/sys/fs/bpf/pillion', cgroupRoot: '', json: false },
      objectDir: /bpf\/\.output$/,
    })
    const env = { PILLION_AGENT_CGROUP_ROOT: '/a', PILLION_AGENT_PIN_DIR: '/b' }
    const given = parsePreflight(['--preflight=json', '--pin-dir', '/c'], env)
    t.match(given, { pinDir: '/c', cgroupRoot: '/a', json: true })
  },
)

t.test('on a node that has nothing of ours', async (t) => {
  const text = run('--preflight', '--pin-dir', pinDir)
  t.match(text, { status: 0, stderr: '' })
  t.match(text.stdout, /^✓ programs: the verifier takes all \d+$/m)
  t.match(text.stdout, /^the mesh runs on this node$/m)
  const json = JSON.parse(run('--preflight=json', '--pin-dir', pinDir).stdout) as object
  t.match(json, { fit: true, lines: [{ what: 'kernel', ok: true }] })
})

t.test('a node that is not fit: exit code 1, and why', async (t) => {
  const { status, stdout } = run('--preflight', '--pin-dir', '/run/nowhere')
  t.equal(status, 1)
  t.match(stdout, /^✗ bpf file system: \/run is on another file system\n {4}the mesh/m)
  t.match(stdout, /the mesh does not run on this node\n$/)
})

t.test('an agent that cannot start says what its node lacks', async (t) => {
  const { status, stderr } = run(
    ...['--node=a', '--operator=unix:/nowhere', '--cgroup-root=/nowhere'],
    ...[`--pin-dir=${pinDir}`, `--state-dir=${t.testdir({})}`, '--proxy-cgroup=/tmp'],
    '--admin-socket=/nowhere',
  )
  t.equal(status, 1)
  t.match(stderr, /^✗ cgroup v2: \/nowhere is no directory of /m)
  t.match(stderr, /pillion-agent: /)
})

t.test('in a process of its own, one at a time', async (t) => {
  const asking = new PreflightProcess({ objectDir, pinDir, cgroupRoot: '' })
  const [first, second] = [asking.ask(), asking.ask()]
  t.equal(first, second)
  t.match(await first, { fit: true })
  t.not(asking.ask(), first, 'asked anew')
  const unfit = new PreflightProcess({ objectDir, pinDir: '/run', cgroupRoot: '' })
  t.match(await unfit.ask(), { fit: false }, 'exit code 1 is an answer, too')
})

t.test('text: all lines, or those that fail', async (t) => {
  const lines = [
    { what: 'a', ok: true, found: 'there', cost: '' },
    { what: 'b', ok: false, optional: true, found: 'off', cost: 'slower' },
  ]
  const verdict = 'the mesh runs on this node'
  const answer = { kernel: '6.1', fit: true, lines }
  t.equal(preflightText(answer), `✓ a: there\n! b: off\n    slower\n${verdict}`)
  t.equal(preflightText(answer, true), `! b: off\n    slower\n${verdict}`)
})
