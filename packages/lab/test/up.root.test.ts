// SPDX-License-Identifier: Apache-2.0
// Labs that do not come up: whatever the reason, nothing is left behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listNetns } from '../src/net/apply.ts'
import { checkout, labCgroup } from '../src/paths.ts'
import { remains } from '../src/teardown.ts'
import { manifestFiles } from './support/fixture.ts'
import { claimMachine, eventually, pillion } from './support/pillion.ts'

claimMachine(t)

t.teardown(async () => {
  await pillion('lab', 'down')
})

t.test('Ctrl-C in the middle of up cleans up', async (t) => {
  const never = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'never' },
    spec: {
      containers: [
        { command: ['sleep', '1000'], readinessProbe: { tcpSocket: { port: 1 } } },
      ],
    },
  }
  const dir = t.testdir({ 'a.yaml': JSON.stringify(never) })
  const args = ['lab', 'up', dir, '--mesh', 'off']
  const up = spawn(join(checkout, 'bin/pillion'), args, { stdio: 'ignore' })
  const ended = once(up, 'exit')
  await eventually('a pod', async () =>
    listNetns().includes('pillion-node-1-default-never') ? true : undefined,
  )
  up.kill('SIGINT')
  t.same(await ended, [1, null])
  t.same(remains(), [])
})

t.test('bad manifests are refused before anything is made', async (t) => {
  const dir = t.testdir({ 'a.yaml': 'kind: [', 'b.yaml': '{apiVersion: v1, kind: Pod}' })
  const { code, err } = await pillion('lab', 'up', dir, '--mesh', 'off')
  t.equal(code, 1)
  t.match(err, /a\.yaml: [^]*b\.yaml: Pod has no metadata\.name/)
  t.same(remains(), [])
})

t.test(
  'of two labs started at once, one works and the other one is refused',
  async (t) => {
    const dir = t.testdir(manifestFiles())
    const up = () => pillion('lab', 'up', dir, '--mesh', 'off', '--timeout', '20')
    const both = await Promise.all([up(), up()])
    t.same(both.map(({ code }) => code).toSorted(), [0, 1], JSON.stringify(both))
    t.match(both.find(({ code }) => code === 1)?.err, /is running|left behind/)
    const works = await pillion('lab', 'exec', '-n', 't', 'client-1', '--', 'true')
    t.equal(works.code, 0, 'the refused one did not touch the other')
    t.equal((await pillion('lab', 'down')).code, 0)
    t.same(remains(), [])
    t.notOk(existsSync(labCgroup()))
  },
)
