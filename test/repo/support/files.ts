// SPDX-License-Identifier: Apache-2.0
// The files of the repository, as git sees them: tracked, and new ones that are not ignored.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Root of the checkout. */
export const root = join(import.meta.dirname, '../../..')

/** Paths from the root, sorted; a file deleted but still in the index is left out. */
export const repositoryFiles: readonly string[] = execFileSync(
  'git',
  // A checkout owned by somebody else is normal in CI; nothing of its configuration runs by listing files.
  [
    '-c',
    'safe.directory=*',
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
  ],
  { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 },
)
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(root, path)))
  .toSorted()

/** Text of one of them. */
export const readText = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Written by a program, so no rule of style is for it. */
export const isGenerated = (path: string): boolean => path.includes('/src/gen/')

/** TypeScript and C that people write. */
export const sourceFiles: readonly string[] = repositoryFiles.filter(
  (path) => /\.(ts|c|h)$/.test(path) && !isGenerated(path),
)
