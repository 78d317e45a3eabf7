// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { featureCosts } from '../../packages/ebpf-l4/src/index.ts'
import { isGood, type GuestReport, type Kernel, type Result } from './kernels.ts'
import { begin, end, intoPage, supportTable } from './support-table.ts'

const kernel = (name: string): Kernel => ({ name, debian: 'Debian', suites: [] })
const report: GuestReport = {
  ...{ release: '6.1.0-9', bootMs: 1, without: [], failing: [] },
  programs: [{ program: 'pl_a' }, { program: 'pl_b' }],
  outcomes: [{ name: 'UDP service', ms: 1 }],
}
const good: Result = { kernel: kernel('6.1'), report, seconds: 1 }
const poor: Result = {
  kernel: kernel('4.9'),
  seconds: 1,
  report: {
    ...report,
    release: '4.9.1',
    without: [{ feature: 'acceleration', reason: 'by TCP' }],
    programs: [{ program: 'pl_a' }, { program: 'pl_b', refused: 'no such type' }],
    outcomes: [{ name: 'UDP service', error: 'no answer', ms: 1 }],
  },
}
const dead: Result = { kernel: kernel('1.0'), error: 'no boot', seconds: 300 }

t.test('what works, why something does not, and what is gone without', async (t) => {
  t.equal(
    supportTable([good, poor, dead]),
    `|  | 6.1.0-9 | 4.9.1 | 1.0 |
| --- | --- | --- | --- |
| package of | Debian | Debian | Debian |
| loads \`pl_a\` | ✓ | ✓ | ✗ no boot |
| loads \`pl_b\` | ✓ | ✗ no such type | ✗ no boot |
| UDP service | ✓ | ✗ no answer | ✗ no boot |
| goes without | nothing | \`acceleration\` | everything |

* \`acceleration\`: by TCP
`,
  )
  t.same([good, poor, dead].map(isGood), [true, false, false])
})

t.test('only the part between the markers changes', async (t) => {
  const page = `# Title\n\n${begin}\nold\n${end}\n\nfoot\n`
  t.equal(intoPage(page, 'new\n'), `# Title\n\n${begin}\n\nnew\n\n${end}\n\nfoot\n`)
  t.equal(intoPage(intoPage(page, 'x\n'), 'new\n'), intoPage(page, 'new\n'))
  t.throws(() => intoPage('# Title\n', 'new'), /the page has no/)
})

t.test(
  'the page has every feature that a kernel may lack, and the markers',
  async (t) => {
    const page = readFileSync(
      join(import.meta.dirname, '../../docs/kernel-support.md'),
      'utf8',
    )
    for (const feature of Object.keys(featureCosts)) t.match(page, `| \`${feature}\` |`)
    t.doesNotThrow(() => intoPage(page, ''))
  },
)
