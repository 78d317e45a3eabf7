// SPDX-License-Identifier: Apache-2.0
// Which test files there are, and how each wants to be run.
import { glob, open } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'

/** One test file. */
export interface TestFile {
  /** From the root of the repository. */
  readonly path: string
  /** It needs root and the kernel, so nothing may run beside it. */
  readonly alone: boolean
  readonly timeoutMs: number
}

const patterns = [
  'packages/*/test/**/*.test.ts',
  'bench/test/**/*.test.ts',
  'test/**/*.test.ts',
]
const defaultTimeoutMs = 120_000
/** The declaration must stand in the first bytes of a file, where a reader sees it. */
const headBytes = 1024

/**
 * Test files of the repository at `root`, sorted; with `paths` only those at or below one of them.
 * `*.root.test.ts` and everything in `test/e2e` runs alone.
 */
export async function discover(
  root: string,
  paths: readonly string[],
): Promise<TestFile[]> {
  const wanted = paths.map((path) => relative(root, resolve(root, path)))
  const isWanted = (path: string): boolean =>
    wanted.length === 0 ||
    wanted.some((want) => path === want || path.startsWith(want + '/') || want === '')
  const found: string[] = []
  for await (const path of glob(patterns, {
    cwd: root,
    exclude: (name) => name.endsWith('node_modules'),
  })) {
    if (isWanted(path)) found.push(path)
  }
  return Promise.all(found.toSorted().map((path) => readTestFile(root, path)))
}

async function readTestFile(root: string, path: string): Promise<TestFile> {
  const file = await open(join(root, path))
  try {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(headBytes),
      0,
      headBytes,
      0,
    )
    return {
      path,
      alone: path.endsWith('.root.test.ts') || path.startsWith('test/e2e/'),
      timeoutMs:
        declaredTimeoutMs(buffer.toString('utf8', 0, bytesRead)) ?? defaultTimeoutMs,
    }
  } finally {
    await file.close()
  }
}

/** The time-out that a file declares by a line `// timeout: SECONDS`, in milliseconds. */
export function declaredTimeoutMs(head: string): number | undefined {
  const match = /^\/\/ timeout: (\d+)$/m.exec(head)
  return match?.[1] === undefined ? undefined : Number(match[1]) * 1000
}
