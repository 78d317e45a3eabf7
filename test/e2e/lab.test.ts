// SPDX-License-Identifier: Apache-2.0
// timeout: 200
// The lab leaves nothing behind, whatever happened to it.
import { existsSync, readdirSync } from 'node:fs'
import t from 'tap'
import { kill9, manifests, must, pillion, run } from '../support/lab.ts'

const leftovers = async (): Promise<string[]> => {
  const { out: spaces } = await run('ip', ['netns', 'list'])
  const { out: links } = await run('ip', ['-o', 'link'])
  const { out: mounts } = await run('sh', [
    '-c',
    'grep cgroup2 /proc/self/mounts | cut -d" " -f2',
  ])
  const { out: processes } = await run('pgrep', [
    '-af',
    'node-agent/src/main.ts|node-l7-proxy/src/main.ts|operator/src/main.ts|lab/src/main.ts',
  ])
  const pins = existsSync('/sys/fs/bpf/pillion') ? readdirSync('/sys/fs/bpf/pillion') : []
  return [
    ...spaces.split('\n').filter((line) => line.startsWith('pillion')),
    ...links.split('\n').filter((line) => line.includes('pillion')),
    ...processes.split('\n').filter(Boolean),
    ...pins,
    ...[`${mounts.split('\n')[0]}/pillion-lab`, '/run/pillion-lab'].filter((path) =>
      existsSync(path),
    ),
  ]
}

t.teardown(() => pillion(['lab', 'down']))

t.test('down leaves nothing', async (t) => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', manifests, '--nodes', '2'], 180_000)
  t.not((await leftovers()).length, 0, 'the check sees a running lab')
  const second = await pillion(['lab', 'up', manifests])
  t.not(second.code, 0)
  t.match(second.err + second.out, /is running/, 'a second lab is refused')
  await must(['lab', 'down'])
  t.same(await leftovers(), [])
})

t.test('also after kill -9 of the lab', async (t) => {
  await must(['lab', 'up', manifests, '--nodes', '2'], 180_000)
  t.ok((await kill9('lab/src/main.ts')) > 0)
  await must(['lab', 'down'])
  t.same(await leftovers(), [])
})

t.test('down without a lab is fine, status says that none runs', async (t) => {
  t.equal((await pillion(['lab', 'down'])).code, 0)
  t.equal((await pillion(['status'])).code, 3)
})
