// SPDX-License-Identifier: Apache-2.0
// The runner decides whether everything else is green, so it is tested with real files that pass, fail, hang and crash.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { declaredTimeoutMs, discover } from '../../tools/test-files.ts'
import { runFile } from '../../tools/test-process.ts'
import { addResult, countsLine, describe } from '../../tools/test.ts'

/** Runs TypeScript `source` as a test file. */
async function run(source: string, timeoutMs = 20_000) {
  const path = join(t.testdir(), 'x.test.ts')
  await writeFile(path, source)
  return runFile({ path, alone: false, timeoutMs })
}

const tap = (lines: string): string => `process.stdout.write(${JSON.stringify(lines)})`

t.test('assertions of subtests count, their summary lines do not', async (t) => {
  const nested =
    'TAP version 14\n# Subtest: a\n    ok 1 - x\n    ok 2 - y\n    1..2\nok 1 - a\nok 2 - z\n1..2\n'
  const result = await run(tap(nested))
  t.equal(result.passed, 3)
  t.same(result.failures, [])
  t.match(describe(result, false), /^ok .* 3 assertions$/)
})

t.test(
  'a failed assertion is told with its subtest, its diagnostics and the standard error',
  async (t) => {
    const failing =
      'TAP version 14\n# Subtest: a\n    not ok 1 - x\n      ---\n      found: 7\n      ...\n    1..1\nnot ok 1 - a\n1..1\n'
    const result = await run(
      `console.error('said beside');process.exitCode = 1;${tap(failing)}`,
    )
    t.equal(result.failures.length, 1)
    t.match(result.failures[0], /^a > x\n[^]*"found": 7/)
    t.match(describe(result, false), /^FAIL[^]*said beside/)
  },
)

t.test('a subtest that threw outside an assertion fails once', async (t) => {
  const result = await run(
    tap(
      'TAP version 14\n# Subtest: a\n    ok 1 - x\n    1..1\nnot ok 1 - a # threw\n1..1\n',
    ),
  )
  t.equal(result.failures.length, 1)
})

t.test(
  'a crash, an empty file, an exit code without a failed assertion are failures',
  async (t) => {
    t.match((await run('throw new Error("early")')).failures, ['exit 1'])
    t.match((await run('')).failures, [/asserted nothing/])
    t.match((await run(`process.exitCode = 3;${tap('ok 1 - x\n1..1\n')}`)).failures, [
      'exit 3',
    ])
  },
)

t.test('a file that hangs is ended and fails', async (t) => {
  const result = await run('setInterval(() => {}, 1000)', 500)
  t.match(result.failures, ['timed out after 0.5 s'])
})

t.test('a process left behind with our pipe does not hold the run', async (t) => {
  const pidFile = join(t.testdir(), 'pid')
  const result = await run(
    `import { spawn } from 'node:child_process'
     import { writeFileSync } from 'node:fs'
     const child = spawn('sleep', ['30'], { stdio: 'inherit', detached: true })
     child.unref()
     writeFileSync(${JSON.stringify(pidFile)}, String(child.pid))
     ${tap('ok 1 - x\n1..1\n')}`,
  )
  process.kill(Number(await readFile(pidFile, 'utf8')))
  t.equal(result.passed, 1)
  t.ok(result.durationMs < 15_000)
})

t.test('skips are counted, or fail where they are forbidden', async (t) => {
  const result = await run(tap('TAP version 14\nok 1 - x # SKIP needs root\n1..1\n'))
  t.same(result.skips, ['x: needs root'])
  const lenient = { passed: 0, failed: 0, skipped: 0 }
  addResult(lenient, result, false)
  t.equal(countsLine(lenient), '0 passed, 0 failed, 1 skipped')
  const strict = { passed: 0, failed: 0, skipped: 0 }
  addResult(strict, result, true)
  t.equal(countsLine(strict), '0 passed, 1 failed, 0 skipped')
  t.match(describe(result, true), /^FAIL[^]*not allowed: skipped: x: needs root/)
  t.same((await run(tap('TAP version 14\n1..0 # SKIP no kernel\n'))).skips, ['no kernel'])
})

t.test(
  'files are found, kernel and end-to-end tests run alone, time-outs are read from the head',
  async (t) => {
    const root = t.testdir()
    const files = [
      'packages/a/test/x.test.ts',
      'packages/a/test/y/z.root.test.ts',
      'test/e2e/up.test.ts',
      'test/no.ts',
    ]
    for (const path of files) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await writeFile(
        join(root, path),
        '// SPDX-License-Identifier: Apache-2.0\n// timeout: 300\n',
      )
    }
    t.same(await discover(root, []), [
      { path: 'packages/a/test/x.test.ts', alone: false, timeoutMs: 300_000 },
      { path: 'packages/a/test/y/z.root.test.ts', alone: true, timeoutMs: 300_000 },
      { path: 'test/e2e/up.test.ts', alone: true, timeoutMs: 300_000 },
    ])
    t.equal((await discover(root, [join(root, 'packages/a/test/y')])).length, 1)
    t.equal(declaredTimeoutMs('import t\n'), undefined)
  },
)
