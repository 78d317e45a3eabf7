// SPDX-License-Identifier: Apache-2.0
// What the command says without a lab, and without root. Runs alone, so that no test's lab is in the way.
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import t from 'tap'

if (process.getuid?.() !== 0) {
  t.plan(0, 'needs root')
  process.exit(0)
}

const root = resolve(import.meta.dirname, '../../..')
const bin = resolve(root, 'bin/pillion')

t.test('no lab: exit code 3 and what to do', async (t) => {
  for (const args of [
    ['status'],
    ['flows'],
    ['explain', 'a/b', 'c/d'],
    ['lab', 'get', 'pods'],
    ['lab', 'exec', 'x', '--', 'true'],
  ]) {
    const { status, stderr } = spawnSync(bin, args, { encoding: 'utf8' })
    t.match(
      { status, stderr },
      { status: 3, stderr: /no lab is running.*pillion lab up DIR/ },
      args.join(' '),
    )
  }
  const down = spawnSync(bin, ['lab', 'down'], { encoding: 'utf8' })
  t.match(down, { status: 0, stdout: /no lab is there/ })
})

t.test('not root: a clear error', async (t) => {
  // DAC override stays, so that the checkout can be read wherever it is.
  const args = [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    '--inh-caps=+dac_override',
  ]
  const { status, stderr } = spawnSync(
    'setpriv',
    [
      ...args,
      '--ambient-caps=+dac_override',
      bin,
      'lab',
      'up',
      resolve(root, 'examples/shop'),
    ],
    { encoding: 'utf8' },
  )
  t.equal(status, 1)
  t.match(stderr, /run it as root/)
})
