// SPDX-License-Identifier: Apache-2.0
// bin/pillion as a shell sees it. No lab runs while these do.
import { spawnSync } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'

const bin = resolve(import.meta.dirname, '../../../bin/pillion')

function pillion(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(bin, args, { encoding: 'utf8' })
  return { status, stdout, stderr }
}

t.test('version and help are no errors', async (t) => {
  t.match(pillion('version'), { status: 0, stdout: /^pillion \d+\.\d+\.\d+ \(contract/ })
  t.match(JSON.parse(pillion('version', '-o', 'json').stdout), {
    version: String,
    contract: 1,
  })
  t.match(pillion('--help'), { status: 0, stdout: /Exit codes:/ })
  t.match(pillion('lab', 'up', '--help'), { status: 0, stdout: /--nodes/ })
})

t.test('wrong usage is 2', async (t) => {
  t.match(pillion('nonsense'), { status: 2, stderr: /unknown command/ })
  t.match(pillion('lab', 'up'), { status: 2, stderr: /--dir is missing/ })
  t.match(pillion('lab', 'apply'), { status: 2, stderr: /-f, --file/ })
  t.match(pillion('lab', 'get', 'pods', '--what'), {
    status: 2,
    stderr: /unknown option/,
  })
  t.match(pillion('lab', 'delete'), { status: 2, stderr: /KIND\/NAME/ })
})

t.test('the command works through a symbolic link', async (t) => {
  const link = join(t.testdir({}), 'pillion')
  symlinkSync(bin, link)
  t.equal(spawnSync(link, ['version']).status, 0)
})
