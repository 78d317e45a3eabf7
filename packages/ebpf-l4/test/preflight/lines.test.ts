// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import type { Facts } from '../../src/preflight/facts.ts'
import { preflight, type PreflightLine } from '../../src/preflight/lines.ts'

const cap = (...bits: bigint[]): bigint =>
  bits.reduce((set, bit) => set | (1n << bit), 0n)
const [netAdmin, sysAdmin, perfmon, bpf] = [12n, 21n, 38n, 39n]

const healthy: Facts = {
  kernel: '6.1.0',
  cgroupMount: '/sys/fs/cgroup',
  cgroupRoot: '/sys/fs/cgroup/kubepods',
  cgroupRootExists: true,
  btf: true,
  bpffs: { path: '/sys/fs/bpf', mounted: true },
  capabilities: cap(netAdmin, perfmon, bpf),
  unprivilegedBpfDisabled: 2,
  jit: 1,
  programs: [
    { object: 'connect', program: 'pl_connect4' },
    { object: 'splice', program: 'pl_sk_msg' },
  ],
  lackingHelpers: [],
  hooks: [
    { program: 'pl_connect4', cgroup: '/sys/fs/cgroup', programs: [], sharing: [] },
  ],
}

const failing = (facts: Partial<Facts>): PreflightLine[] =>
  preflight({ ...healthy, ...facts }).lines.filter(({ ok }) => !ok)

t.test('a healthy node passes every line', async (t) => {
  const { fit, lines, kernel } = preflight(healthy)
  t.equal(fit, true)
  t.equal(kernel, '6.1.0')
  t.same(
    lines.map(({ what, ok, cost }) => [what, ok, cost]),
    [
      'kernel',
      'cgroup v2',
      'kernel BTF',
      'bpf file system',
      'capabilities',
      'programs',
      'hooks',
      'JIT compiler',
      'unprivileged BPF',
    ].map((what) => [what, true, '']),
  )
})

t.test('what stops the mesh makes the node unfit, and says what to do', async (t) => {
  const { cgroupMount: _, ...unmounted } = healthy
  t.equal(preflight(unmounted).fit, false)
  const cases: [Partial<Facts>, RegExp][] = [
    [{ cgroupRootExists: false }, /--cgroup-root/],
    [{ btf: false }, /CONFIG_DEBUG_INFO_BTF/],
    [{ bpffs: { path: '/run', mounted: false } }, /mount -t bpf/],
    [{ programs: [], programsError: 'no files' }, /verifier/],
  ]
  for (const [facts, cost] of cases) {
    t.equal(preflight({ ...healthy, ...facts }).fit, false)
    t.match(failing(facts), [{ cost }])
  }
})

t.test('each missing capability has a line of its own', async (t) => {
  const missing = (capabilities: bigint): string[] =>
    failing({ capabilities }).map(({ what }) => what)
  t.same(missing(0n), ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'])
  t.same(missing(cap(bpf, netAdmin)), ['CAP_PERFMON'])
  t.same(missing(cap(bpf, perfmon)), ['CAP_NET_ADMIN'])
  t.same(missing(cap(netAdmin, perfmon)), ['CAP_BPF'])
  t.same(missing(cap(sysAdmin)), ['CAP_NET_ADMIN'], 'which CAP_SYS_ADMIN does not hold')
  t.same(missing(cap(sysAdmin, netAdmin)), [])
})

t.test('a limit on locked memory, where maps are charged to it', async (t) => {
  const refused = 'Error in bpf_create_map_xattr(pl_cgroups):Operation not permitted(-1)'
  const programs = [{ object: 'connect', program: 'pl_connect4', refused }]
  const limited = { programs, memlockBytes: 65_536 }
  t.match(failing(limited), [
    { what: 'locked memory', found: /65536 bytes/, cost: /unlimited memlock/ },
    { what: 'program pl_connect4' },
  ])
  t.equal(failing({ memlockBytes: 65_536 }).length, 0, 'nothing is refused')
  t.equal(failing({ programs }).length, 1, 'without a limit')
  t.equal(
    failing({ ...limited, capabilities: healthy.capabilities | (1n << 24n) }).length,
    1,
  )
  t.match(failing({ ...limited, capabilities: cap(netAdmin, perfmon) }), [
    { what: 'CAP_BPF' },
    { what: 'program pl_connect4' },
  ])
})

t.test('a refused program costs its feature, or everything', async (t) => {
  const refused = 'unknown func 99'
  const programs = [
    { object: 'connect', program: 'pl_connect4' },
    { object: 'splice', program: 'pl_sk_msg', refused },
  ]
  t.match(failing({ programs }), [
    {
      ...{ what: 'program pl_sk_msg', optional: true },
      ...{ found: `refused: ${refused}`, cost: /go by TCP/ },
    },
  ])
  t.equal(preflight({ ...healthy, programs }).fit, true)
  const needed = [{ object: 'connect', program: 'pl_connect4', refused }]
  t.match(failing({ programs: needed }), [{ cost: /does not run/ }])
  t.equal(preflight({ ...healthy, programs: needed }).fit, false)
})

t.test('what costs something and stops nothing', async (t) => {
  const facts = {
    jit: 0,
    unprivilegedBpfDisabled: 0,
    lackingHelpers: [{ feature: 'connect-errors', reason: 'the kernel has none' }],
  } as const
  t.equal(preflight({ ...healthy, ...facts }).fit, true)
  t.match(failing(facts), [
    { what: 'connect-errors', optional: true, cost: /EPERM/ },
    { what: 'JIT compiler', optional: true, cost: /bpf_jit_enable=1/ },
    { what: 'unprivileged BPF', optional: true, cost: /unprivileged_bpf_disabled=2/ },
  ])
})
