// SPDX-License-Identifier: Apache-2.0
// The bash script in bash itself; zsh and fish where they are installed, for their syntax.
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { completionScript } from '../src/completion.ts'
import { buildProgram } from '../src/program.ts'

const program = buildProgram()

function completed(...words: string[]): string[] {
  const script = `${completionScript(program, 'bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1}
_pillion
printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr, status } = spawnSync('bash', ['-c', script], {
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
  return stdout.split('\n').filter((line) => line !== '')
}

t.test('bash', async (t) => {
  t.same(completed('pillion', 'inst'), ['install'])
  t.same(completed('pillion', 'lab', 'e'), ['exec'])
  t.same(completed('pillion', 'config', 'r'), ['routes'])
  t.same(completed('pillion', 'uninstall', '--ver'), ['--verify'])
  t.same(completed('pillion', 'install', '--dry-run', '--no'), ['--no-wait'])
})

t.test('zsh and fish', async (t) => {
  for (const shell of ['zsh', 'fish'] as const) {
    const input = completionScript(program, shell)
    t.match(input, /uninstall/)
    const checked = spawnSync(shell, ['-n'], { input, encoding: 'utf8' })
    if (checked.error === undefined) t.equal(checked.status, 0, checked.stderr)
  }
})
