// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { optionTable, parseOptions } from '../src/options.ts'

const needed = [
  '--dir',
  'd',
  '--status-dir',
  's',
  '--listen',
  'unix:/l',
  '--admin-socket',
  '/a',
]

t.test('a flag wins over the environment, and this over the default', async (t) => {
  const env = { PILLION_OPERATOR_DEBOUNCE: '7', PILLION_OPERATOR_RESCAN: '9' }
  const options = parseOptions([...needed, '--debounce=3'], env)
  t.match(options, {
    dir: 'd',
    debounceMs: 3,
    rescanMs: 9,
    nackRetryMs: 5000,
    source: 'directory',
  })
})

t.test('what cannot be used is named', async (t) => {
  t.throws(() => parseOptions([], {}), { code: 'USAGE', message: /^--dir is missing: / })
  t.throws(() => parseOptions(['--no'], {}), { message: 'unknown argument "--no"' })
  t.throws(() => parseOptions(['--dir'], {}), { message: '--dir needs a value' })
  t.throws(() => parseOptions([...needed, '--rescan', '1s'], {}), {
    message: /--rescan: "1s"/,
  })
  t.throws(() => parseOptions([...needed, '--large-deltas', '0'], {}), {
    message: '--large-deltas: at least 1 is needed',
  })
  t.throws(() => parseOptions([...needed, '--source', 'magic'], {}), {
    message: /--source/,
  })
})

t.test('every row says what it is', async (t) => {
  for (const { flag, env, doc } of Object.values(optionTable)) {
    t.match(flag, /^[a-z-]+$/)
    t.match(env, /^PILLION_OPERATOR_[A-Z_]+$/)
    t.ok(doc.length > 10)
  }
})

t.test(
  'the process ends with 2 on bad usage, with 1 on what it cannot start',
  async (t) => {
    const main = join(import.meta.dirname, '../src/main.ts')
    const run = (...argv: string[]) =>
      spawnSync(process.execPath, [main, ...argv], { encoding: 'utf8', timeout: 30_000 })
    const usage = run('--bogus')
    t.equal(usage.status, 2)
    t.match(usage.stderr, /unknown argument "--bogus"/)
    const dir = mkdtempSync(join(tmpdir(), 'pillion-main-'))
    t.teardown(() => rmSync(dir, { recursive: true }))
    const failed = run(
      ...['--dir', join(dir, 'none'), '--status-dir', join(dir, 'status')],
      ...['--listen', `unix:${dir}/l`, '--admin-socket', join(dir, 'a')],
    )
    t.equal(failed.status, 1)
    t.match(failed.stderr, /none: .*--dir must name a directory/)
    const long = run(
      ...['--dir', dir, '--status-dir', join(dir, 'status')],
      ...['--listen', `unix:${dir}/l`, '--admin-socket', join(dir, 'x'.repeat(108))],
    )
    t.equal(long.status, 1)
    t.match(long.stderr, /Linux allows 107 bytes/)
  },
)

t.test('each source asks only for what it needs', async (t) => {
  const rest = ['--listen', 'unix:/l', '--admin-socket', '/a']
  const options = parseOptions(['--source', 'kubernetes', ...rest], {})
  t.match(options, { source: 'kubernetes', dir: '', namespace: 'pillion-system' })
  t.throws(() => parseOptions(rest, {}), { code: 'USAGE', message: /--dir is missing/ })
  t.throws(() => parseOptions(['--source', 'etcd', ...rest], {}), {
    code: 'USAGE',
    message: /use directory or kubernetes/,
  })
  t.throws(
    () => parseOptions([...needed, '--lease-renew-deadline', '15000'], {}),
    /must be less than --lease-duration: two replicas would lead/,
  )
})
