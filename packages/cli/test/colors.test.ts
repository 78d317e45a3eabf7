// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const module = join(import.meta.dirname, '../src/colors.ts')
const script = `import { colors } from '${module}'; process.stdout.write(colors.red('no'))`

for (const [name, value] of [
  ['CI', 'true'],
  ['FORCE_COLOR', '1'],
  ['GITHUB_ACTIONS', 'true'],
] as const) {
  t.test(`what is piped is plain with ${name}`, async (t) => {
    const env = { ...process.env, [name]: value }
    const args = ['--input-type=module', '--eval', script]
    const child = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
    t.equal(child.stdout, 'no', child.stderr)
  })
}
