// SPDX-License-Identifier: Apache-2.0
// bin/pillion as a shell sees it. No lab runs while these do.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import t from 'tap'
import { buildProgram } from '../src/program.ts'

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
  t.match(pillion('lab', 'up'), {
    status: 2,
    stderr: /name a DIR of manifests, or --kubeconfig FILE/,
  })
  t.match(pillion('lab', 'apply'), { status: 2, stderr: /-f, --file/ })
  t.match(pillion('lab', 'get', 'pods', '--what'), {
    status: 2,
    stderr: /unknown option/,
  })
  t.match(pillion('lab', 'delete'), { status: 2, stderr: /KIND\/NAME/ })
})

t.test('every command explains itself, with a line to try', async (t) => {
  const visit = (command: Command, path: string): void => {
    t.ok(command.description(), path)
    for (const each of command.commands) visit(each, `${path} ${each.name()}`)
    if (command.commands.length > 0) return
    let help = ''
    command.configureOutput({ writeOut: (text) => (help += text) })
    command.outputHelp()
    const line = /Examples?:\n((?: {2}.*\n)+)/.exec(help)?.[1] ?? ''
    t.ok(line.includes(path), `${path}: ${line}`)
    const formats = command.options.find(({ long }) => long === '--output')
    if (formats !== undefined && path !== 'pillion sysdump')
      t.same(formats.argChoices, ['table', 'json'], path)
  }
  visit(buildProgram(), 'pillion')
})

t.test('the verbs of a cluster are there', async (t) => {
  const names = buildProgram().commands.map((command) => command.name())
  const wanted = ['install', 'upgrade', 'uninstall', 'status', 'check', 'config', 'diff']
  for (const verb of [...wanted, 'wait', 'sysdump', 'completion', 'explain', 'flows'])
    t.ok(names.includes(verb), verb)
})

t.test('a checkout that is not built, or not since it changed', async (t) => {
  const root = t.testdir({ bin: {}, packages: { cli: {} }, node_modules: {} })
  const copy = join(root, 'bin/pillion')
  cpSync(bin, copy)
  const say = () => spawnSync(copy, ['version'], { encoding: 'utf8' })
  t.match(say(), { status: 1, stderr: /not built; run: make -C .* build/ })
  for (const arch of ['x64', 'arm64']) {
    const dir = join(root, `.tools/node_modules/node-linux-${arch}/bin`)
    mkdirSync(dir, { recursive: true })
    symlinkSync('/bin/true', join(dir, 'node'))
  }
  mkdirSync(join(root, 'packages/cli/node_modules'))
  t.match(say(), { status: 0, stderr: '' })
  const [lock, state] = ['pnpm-lock.yaml', 'node_modules/.pnpm-workspace-state-v1.json']
  for (const file of [lock, state]) writeFileSync(join(root, file), '')
  utimesSync(join(root, lock), 2000, 2000)
  utimesSync(join(root, state), 1000, 1000)
  t.match(say(), { status: 1, stderr: /have changed since it was built; run: make/ })
  utimesSync(join(root, state), 3000, 3000)
  t.match(say(), { status: 0, stderr: '' })
})

t.test('the command works through a symbolic link', async (t) => {
  const link = join(t.testdir({}), 'pillion')
  symlinkSync(bin, link)
  t.equal(spawnSync(link, ['version']).status, 0)
})
