// SPDX-License-Identifier: Apache-2.0
// Pages point at things that exist, and say what the Makefile says.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { readText, repositoryFiles, root } from './support/files.ts'

const pages = repositoryFiles.filter((path) => path.endsWith('.md'))

/** Targets of the inline links and images of a page, without code blocks. */
const linkTargets = (text: string): string[] =>
  [...text.replaceAll(/```[^]*?```|`[^`\n]*`/g, '').matchAll(/\]\(([^()\s]+)\)/g)].map(
    (match) => match[1] ?? '',
  )

/** GitHub's anchors of the headings of a page. */
const anchors = (text: string): Set<string> =>
  new Set(
    [...text.matchAll(/^#+\s+(.+)$/gm)].map((match) =>
      (match[1] ?? '')
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
    ),
  )

t.test('every relative link leads to a file, every anchor to a heading', async (t) => {
  const broken = pages.flatMap((page) =>
    linkTargets(readText(page)).flatMap((target) => {
      if (/^[a-z]+:/.test(target)) return []
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      if (!existsSync(join(root, file))) return [`${page}: ${target}`]
      if (anchor === undefined || !file.endsWith('.md')) return []
      return anchors(readText(file)).has(anchor) ? [] : [`${page}: ${target}`]
    }),
  )
  t.same(broken, [])
  t.same(linkTargets('[a](b.md#c) `[x](y)` ![i](j.svg)'), ['b.md#c', 'j.svg'])
})

t.test('commands that pages show are targets of the Makefile', async (t) => {
  const makefile = readText('Makefile')
  const shown = pages.flatMap((page) =>
    [...readText(page).matchAll(/`make ([a-z][a-z0-9-]*)/g)].map(
      (match) => [page, match[1] ?? ''] as const,
    ),
  )
  t.ok(shown.length > 0)
  t.same(
    shown.filter(([, target]) => !new RegExp(`^${target}:`, 'm').test(makefile)),
    [],
  )
})

t.test('every decision record is numbered and listed nowhere twice', async (t) => {
  const records = pages.filter((path) => path.startsWith('docs/decisions/'))
  const numbers = records.map(
    (path) => /^docs\/decisions\/(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1],
  )
  t.notOk(numbers.includes(undefined), 'NNNN-title.md')
  t.equal(new Set(numbers).size, numbers.length)
})
