// SPDX-License-Identifier: Apache-2.0
// Kernels that refuse a program, imitated by a program that no kernel takes.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cgroup2Mount } from '../src/cgroup.ts'
import { AccelMode, Datapath, emptyTables, removePins } from '../src/index.ts'
import { tryPrograms } from '../src/load.ts'

const built = join(import.meta.dirname, '../../../bpf/.output')
const tag = `pillion-test-load-${process.pid}`
const pinDir = `/sys/fs/bpf/${tag}`
const cgroupRoot = join(cgroup2Mount(), tag)
const proxyCgroup = join(cgroupRoot, 'proxy')
mkdirSync(proxyCgroup, { recursive: true })
t.teardown(() => {
  rmdirSync(proxyCgroup)
  rmdirSync(cgroupRoot)
})

const source = (section: string, program: string): string => `
  static long (*missing)(void) = (void *)9999;
  __attribute__((section("${section}"), used)) int ${program}(void *ctx) { return missing(); }
  char _license[] __attribute__((section("license"), used)) = "GPL";`

/** The built objects, but `object` has one program, which calls a helper that does not exist. */
function objectsWith(
  directory: string,
  object: string,
  section: string,
  program: string,
): string {
  for (const file of readdirSync(built)) {
    if (file !== `${object}.bpf.o`) symlinkSync(join(built, file), join(directory, file))
  }
  const out = join(directory, `${object}.bpf.o`)
  const options = ['-O2', '-g', '-target', 'bpf', '-x', 'c', '-', '-c', '-o', out]
  execFileSync('clang', options, { input: source(section, program) })
  return directory
}

const reason = 'pl_sk_msg is refused: invalid func unknown#9999'

t.test('without acceleration, where the kernel refuses only that', async (t) => {
  const objectDir = objectsWith(t.testdir({}), 'splice', 'sk_msg', 'pl_sk_msg')
  t.match(
    tryPrograms({ objectDir, cgroupRoot }).filter(({ refused }) => refused !== undefined),
    [{ object: 'splice', program: 'pl_sk_msg', refused: 'invalid func unknown#9999' }],
  )
  const datapath = await Datapath.open({ objectDir, pinDir, cgroupRoot, proxyCgroup })
  t.teardown(() => {
    datapath.close()
    removePins(pinDir)
  })
  t.same(datapath.lacking, [{ feature: 'acceleration', reason }])
  datapath.apply(emptyTables())
  t.same(datapath.verifyAttached(), [], 'all else is in force')
  datapath.setSettings({ acceleration: 'on', proxyPort: 15_001 })
  const settings = datapath.dump('pl_settings')[0]?.value
  t.match(settings, { accel: AccelMode.ACCEL_OFF, proxyPort: 15_001 })
})

t.test('without L7, where the socket options are refused', async (t) => {
  const objectDir = objectsWith(
    t.testdir({}),
    ...(['sockopt', 'cgroup/setsockopt', 'pl_setsockopt'] as const),
  )
  const datapath = await Datapath.open({ objectDir, pinDir, cgroupRoot, proxyCgroup })
  t.teardown(() => {
    datapath.close()
    removePins(pinDir)
  })
  t.match(datapath.lacking, [{ feature: 'l7' }])
  datapath.setSettings({ acceleration: 'on', proxyPort: 15_001 })
  const settings = datapath.dump('pl_settings')[0]?.value
  t.match(settings, { accel: AccelMode.ACCEL_ON, proxyPort: 0 }, 'no proxy to send to')
})

t.test('not at all, where the kernel refuses what policy needs', async (t) => {
  const objectDir = objectsWith(
    t.testdir({}),
    ...(['connect', 'cgroup/connect4', 'pl_connect4'] as const),
  )
  await t.rejects(Datapath.open({ objectDir, pinDir, cgroupRoot, proxyCgroup }), {
    ...{ code: 'REJECTED', message: /unknown#9999/ },
  })
  t.notOk(existsSync(join(pinDir, 'links/pl_close')), 'nothing is attached')
  removePins(pinDir)
})
