// SPDX-License-Identifier: Apache-2.0
// Front of the test runner: `node tools/test.ts [PATH...]` runs the test files below the paths (all without any), one
// process a file, and ends with the line "N passed, N failed, N skipped", which counts assertions.
//
// Not the `tap` command: the exit code, the order (kernel tests alone, afterwards), time-outs per file and the rule that
// CI may forbid skips are what people rely on here, and they are smaller than a configuration of it.
import { cpus } from 'node:os'
import { discover, type TestFile } from './test-files.ts'
import { runFile, type FileResult } from './test-process.ts'

/** Sums over files, as the last line prints them. */
export interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** The last line of a run: the only thing that a machine should read. */
export const countsLine = (counts: Counts): string =>
  `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`

/**
 * Adds one file to the sums. With `forbidSkips` a skip counts as a failure: on a machine that claims to have everything,
 * a test that did not run has shown nothing.
 */
export function addResult(
  counts: Counts,
  result: FileResult,
  forbidSkips: boolean,
): void {
  counts.passed += result.passed
  counts.failed += result.failures.length + (forbidSkips ? result.skips.length : 0)
  counts.skipped += forbidSkips ? 0 : result.skips.length
}

/** What a finished file prints: one line when all is well, otherwise everything it said. */
export function describe(result: FileResult, forbidSkips: boolean): string {
  const seconds = (result.durationMs / 1000).toFixed(1).padStart(6)
  const bad = result.failures.length > 0 || (forbidSkips && result.skips.length > 0)
  const lines = [
    `${bad ? 'FAIL' : 'ok  '} ${seconds} s  ${result.path}  ${result.passed} assertions`,
  ]
  for (const skip of result.skips)
    lines.push(`       ${forbidSkips ? 'not allowed: ' : ''}skipped: ${skip}`)
  for (const failure of result.failures) lines.push(indent(failure, '       '))
  if (result.failures.length > 0 && result.output !== '')
    lines.push(indent(result.output, '       | '))
  return lines.join('\n')
}

const indent = (text: string, by: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => by + line)
    .join('\n')

/** Runs `files`, at most `jobs` at a time, and hands over each result as it arrives. */
async function runAll(
  files: readonly TestFile[],
  jobs: number,
  report: (result: FileResult) => void,
): Promise<void> {
  const queue = [...files]
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      report(await runFile(file))
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
}

async function main(paths: readonly string[]): Promise<number> {
  const files = await discover(process.cwd(), paths)
  if (files.length === 0) {
    process.stderr.write(`no test file below ${paths.join(', ')}\n`)
    return 2
  }
  const forbidSkips = process.env['PILLION_REQUIRE_ROOT'] === '1'
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
  const report = (result: FileResult): void => {
    addResult(counts, result, forbidSkips)
    process.stdout.write(describe(result, forbidSkips) + '\n')
  }
  const alone = files.filter((file) => file.alone)
  const together = files.filter((file) => !file.alone)
  await runAll(together, Math.min(2, cpus().length), report)
  await runAll(alone, 1, report)
  process.stdout.write(countsLine(counts) + '\n')
  return counts.failed > 0 ? 1 : 0
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
