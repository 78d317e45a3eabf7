// SPDX-License-Identifier: Apache-2.0
// A checkout must mean the same on every machine: no absolute path of one, no host that only one can reach.
import t from 'tap'
import { readText, repositoryFiles } from './support/files.ts'

const binary = /\.(png|ico|woff2?|gz|tgz|node|o)$/
const leaks: ReadonlyArray<readonly [RegExp, string]> = [
  [/(?<![\w.$}-])\/(?:work|home\/\w+|root|Users\/\w+)\//, 'absolute path of one machine'],
  [
    /https?:\/\/(?:registry\.|[\w.-]*(?:artifactory|verdaccio|nexus))/i,
    'address of a package registry',
  ],
  [/^\s*(?:resolution:.*|"?resolved"?:.*)tarball:/, 'address of a package registry'],
  [/(?:npm|pnpm)_config_registry|--registry[= ]/i, 'choice of a package registry'],
]

const leaksOf = (text: string): string[] =>
  text
    .split('\n')
    .flatMap((line, i) =>
      leaks
        .filter(([pattern]) => pattern.test(line))
        .map(([, what]) => `${i + 1}: ${what}: ${line.trim().slice(0, 120)}`),
    )

t.test('no file holds a path or a host of the machine it was written on', async (t) => {
  const found = repositoryFiles
    .filter((path) => !binary.test(path) && !path.startsWith('test/repo/no-leaks'))
    .flatMap((path) => leaksOf(readText(path)).map((text) => `${path}:${text}`))
  t.same(found, [])
})

t.test('the patterns find what they are for', async (t) => {
  t.equal(leaksOf('see /work/x/y').length, 1)
  t.equal(leaksOf('cd "/home/me/src"').length, 1)
  t.equal(leaksOf('https://registry.example.org/x').length, 1)
  t.same(leaksOf('GET /debug/workloads, node_modules/.bin, ./work/x'), [])
})
