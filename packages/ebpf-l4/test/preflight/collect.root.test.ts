// SPDX-License-Identifier: Apache-2.0
// A preflight beside a running datapath: it finds what is there, and leaves nothing behind.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AttachType, attachments } from '../../src/attach.ts'
import { native } from '../../src/native.ts'
import { capabilities, collectFacts, memlock } from '../../src/preflight/collect.ts'
import { preflight } from '../../src/preflight/lines.ts'
import { Host } from '../support/host.ts'

const objectDir = join(import.meta.dirname, '../../../../bpf/.output')
const host = await Host.create(['client'])
t.teardown(() => host.close())

/** Where objects pin their maps: in our directory, or without one at the top. */
const pinned = (): string[] => [
  ...readdirSync(host.pinDir, { recursive: true }).map(String).sort(),
  ...readdirSync('/sys/fs/bpf').filter((name) => name.startsWith('pl_')),
]

t.test('beside the datapath that it asks about', async (t) => {
  const before = pinned()
  const { pinDir, root: cgroupRoot } = host
  const facts = collectFacts({ objectDir, pinDir, cgroupRoot })
  t.same(pinned(), before, 'nothing is pinned')
  t.same(host.datapath.verifyAttached(), [])

  t.equal(facts.programs.length, attachments.length)
  t.same(
    facts.programs.filter(({ refused }) => refused !== undefined),
    [],
  )
  const connect = facts.hooks.find(({ program }) => program === 'pl_connect4')
  t.match(connect?.programs, [{ name: 'pl_connect4', ours: true, cgroup: cgroupRoot }])
  t.match(connect?.sharing, [{ cgroup: cgroupRoot, mode: 'multi' }])
  t.equal(preflight(facts).fit, true)
})

t.test('programs of somebody else on the same hooks', async (t) => {
  const pinDir = '/sys/fs/bpf/pillion-of-nobody'
  const facts = collectFacts({ objectDir, pinDir, cgroupRoot: host.root })
  const { fit, lines } = preflight(facts)
  t.equal(fit, true)
  const found = `before ours: pl_connect4 (${idOf('pl_connect4')}) on ${host.root}`
  t.match(
    lines.find(({ what }) => what === 'hook connect4'),
    { ok: false, optional: true, found },
  )
})

t.test('a program that is attached for itself alone', async (t) => {
  const parent = join(host.root, '..', `${host.tag}-alone`)
  const cgroupRoot = join(parent, 'pods')
  mkdirSync(cgroupRoot, { recursive: true })
  const object = native.objectOpen(join(objectDir, 'connect.bpf.o'), '')
  const directory = native.openDirectory(parent)
  const below = native.openDirectory(cgroupRoot)
  t.teardown(() => {
    native.closeFd(directory)
    native.closeFd(below)
    native.objectClose(object)
    rmdirSync(cgroupRoot)
    rmdirSync(parent)
  })
  native.objectLoad(object)
  const program = native.objectProgramFd(object, 'pl_connect6')
  native.progAttach(program, directory, AttachType.cgroupInet6Connect)

  const facts = collectFacts({ objectDir, pinDir: '/sys/fs/bpf/none', cgroupRoot })
  const { fit, lines } = preflight(facts)
  t.equal(fit, false)
  t.match(
    lines.find(({ what }) => what === 'hook connect6'),
    { ok: false, found: /alone$/, cost: /EPERM/ },
  )
  const attach = (): number =>
    native.linkCreate(program, below, AttachType.cgroupInet6Connect)
  t.throws(attach, { code: 'ERR_BPF', message: /not permitted/ }, 'and so it is')
})

t.test(
  'the capabilities that are missing, and what the kernel says without them',
  async (t) => {
    const own = 'cap_bpf,cap_net_admin,cap_perfmon'
    const lines = (kept: string): string[] => {
      const set = [
        '-all',
        ...kept.split(',').map((name) => name.replace('cap_', '+')),
      ].join()
      const code = `
      import { collectFacts } from '${join(import.meta.dirname, '../../src/preflight/collect.ts')}'
      import { preflight } from '${join(import.meta.dirname, '../../src/preflight/lines.ts')}'
      const options = ${JSON.stringify({ objectDir, pinDir: host.pinDir, cgroupRoot: host.root })}
      console.log(JSON.stringify(preflight(collectFacts(options)).lines))`
      const node = [process.execPath, '--input-type=module', '-e', code]
      const out = execFileSync('setpriv', [`--bounding-set=${set}`, ...node], {
        encoding: 'utf8',
      })
      const failed = (
        JSON.parse(out) as { what: string; ok: boolean; optional?: boolean }[]
      )
        .filter(({ ok, optional }) => !ok && optional !== true)
        .map(({ what }) => what)
      return [...new Set(failed.map((what) => what.replace(/^program .*/, 'programs')))]
    }
    t.same(lines(own), [], 'these three suffice')
    t.same(lines('cap_net_admin,cap_perfmon'), ['CAP_BPF', 'programs'])
    t.same(lines('cap_bpf,cap_perfmon'), ['CAP_NET_ADMIN', 'programs'])
    t.same(lines('cap_bpf,cap_net_admin'), ['CAP_PERFMON', 'programs'])
  },
)

t.test('the limit on locked memory of /proc/PID/limits', async (t) => {
  const limits = (soft: string): string =>
    `Max processes             94207    94207    processes\nMax locked memory         ${soft}   unlimited   bytes\n`
  t.same(memlock(limits('65536')), { memlockBytes: 65_536 })
  t.same(memlock(limits('unlimited')), {})
})

t.test('the effective set of /proc/PID/status', async (t) => {
  t.equal(capabilities('Name:\tx\nCapEff:\t000000c000001000\n'), 0xc000001000n)
  t.equal(capabilities(''), 0n)
})

function idOf(program: string): number {
  return host.datapath.programs().find(({ name }) => name === program)?.id ?? 0
}
