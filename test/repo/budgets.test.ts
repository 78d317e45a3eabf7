// SPDX-License-Identifier: Apache-2.0
// Hard stops for sizes. ESLint stops long functions in TypeScript; here are files, C, and the way around ESLint.
import t from 'tap'
import { readText, sourceFiles } from './support/files.ts'

const maxFileLines = 500
const maxTestLines = 400
const maxFunctionLines = 80

const lineCount = (text: string): number => text.split('\n').length - 1

/** Bodies longer than the budget. In our C format a function's braces, and only those, stand alone in column 0. */
export function longFunctions(text: string): string[] {
  const lines = text.split('\n')
  const found: string[] = []
  let start = -1
  lines.forEach((line, i) => {
    if (line === '{') start = i
    if (line !== '}' || start < 0) return
    if (i - start > maxFunctionLines)
      found.push(`${lines[start - 1]} (${i - start} lines)`)
    start = -1
  })
  return found
}

t.test('no file is longer than its budget', async (t) => {
  const isTest = (path: string): boolean => /(^|\/)test\//.test(path)
  const over = sourceFiles.flatMap((path) => {
    const lines = lineCount(readText(path))
    const limit = isTest(path) ? maxTestLines : maxFileLines
    return lines > limit
      ? [`${path}: ${lines} lines, at most ${limit}: which second thing does it hold?`]
      : []
  })
  t.same(over, [])
})

t.test('no C function is longer than its budget', async (t) => {
  const body = (lines: number): string => `int f(void)\n{\n${'\tg();\n'.repeat(lines)}}\n`
  t.same(longFunctions(body(maxFunctionLines)), ['int f(void) (81 lines)'])
  t.same(longFunctions(body(maxFunctionLines - 1)), [])
  const over = sourceFiles
    .filter((path) => !path.endsWith('.ts'))
    .flatMap((path) => longFunctions(readText(path)).map((text) => `${path}: ${text}`))
  t.same(over, [])
})

t.test('no file switches a budget off', async (t) => {
  const off = /eslint-disable[^\n]*max-lines/
  t.same(
    sourceFiles.filter(
      (path) => !path.startsWith('test/repo/') && off.test(readText(path)),
    ),
    [],
  )
})
