// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { parseOptions } from '../src/options.ts'

t.test('defaults and values', async (t) => {
  t.same(parseOptions(['--dir', '/x']), {
    dir: '/x',
    nodes: 2,
    mesh: true,
    timeoutMs: 60_000,
  })
  t.same(
    parseOptions(['--dir', '/x', '--nodes', '3', '--mesh', 'off', '--timeout', '5s']),
    {
      dir: '/x',
      nodes: 3,
      mesh: false,
      timeoutMs: 5000,
    },
  )
})

t.test('an API server instead of a directory', async (t) => {
  const options = parseOptions(['--kubeconfig', '/k', '--dir', '/x'])
  t.match(options, { kubeconfig: '/k', dir: '/x' })
  t.equal(parseOptions(['--kubeconfig', '/k']).dir, process.cwd())
  t.match(parseOptions(['--dir', '/x', '--filters', '/f']), { filters: '/f' })
  t.notOk('filterSecrets' in parseOptions(['--dir', '/x', '--filters', '/f']))
})

t.test('refusals are usage errors that name the flag', async (t) => {
  const refused = (argv: string[], message: RegExp) =>
    t.throws(() => parseOptions(argv), { code: 'usage', message })
  refused([], /name a DIR of manifests, or --kubeconfig FILE/)
  refused(['--dir'], /--dir needs a value/)
  refused(['--what', '1'], /unknown option --what/)
  refused(
    ['--dir', '/x', '--nodes', '10'],
    /--nodes 10: must be a whole number from 1 to 9/,
  )
  refused(['--dir', '/x', '--mesh', 'maybe'], /--mesh is on or off/)
})
