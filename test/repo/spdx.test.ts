// SPDX-License-Identifier: Apache-2.0
// Every source file names its licence: Apache-2.0, and in bpf/ the licences the kernel and others can both take.
import t from 'tap'
import { isGenerated, readText, repositoryFiles } from './support/files.ts'

const needsHeader = /\.(ts|js|c|h|sh)$|(^|\/)Makefile$|^\.ci\/run$|^bin\//
const headLines = 3

t.test('every source file has the SPDX header of its folder', async (t) => {
  const wrong = repositoryFiles
    .filter((path) => needsHeader.test(path) && !isGenerated(path))
    .flatMap((path) => {
      const want = path.startsWith('bpf/') ? 'GPL-2.0-only OR BSD-2-Clause' : 'Apache-2.0'
      const head = readText(path).split('\n', headLines).join('\n')
      return head.includes(`SPDX-License-Identifier: ${want}`) ? [] : [`${path}: ${want}`]
    })
  t.same(wrong, [])
})
