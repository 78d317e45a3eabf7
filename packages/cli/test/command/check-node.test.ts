// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { startCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

const line = { what: 'programs', ok: true, found: 'the verifier takes all', cost: '' }
const slow = {
  what: 'JIT compiler',
  ok: false,
  optional: true,
  found: 'off',
  cost: 'slower',
}
const missing = { what: 'CAP_BPF', ok: false, found: 'missing', cost: 'it does not run' }

t.test('check node asks the agents of a cluster', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  const nodes = {
    'node-1': { kernel: '6.1.0', fit: true, lines: [line, slow] },
    'node-2': { kernel: '5.10.0', fit: false, lines: [line, missing] },
  }
  for (const [node, answer] of Object.entries(nodes)) {
    const agent = { '/debug/preflight': answer }
    await cluster.pod(`mesh-${node}`, 'pillion-node', node, { agent, proxy: {} })
  }

  const all = await cluster.pillion('check', 'node')
  t.equal(all.code, 1, 'one is not fit')
  t.match(
    all.out,
    /✗\s+JIT compiler\s+off\s+slower\nnode-1, kernel 6\.1\.0: the mesh runs/,
  )
  t.match(
    all.out,
    /✗\s+CAP_BPF\s+missing\s+it does not run\nnode-2, .* does not run there/,
  )
  t.notMatch(all.out, 'programs', 'of several nodes only what fails')

  const one = await cluster.pillion('check', 'node', 'node-1')
  t.match(one, { code: 0, out: /✓\s+programs\s+the verifier takes all/ })
  const json = await cluster.pillionJson<object[]>('check', 'node', 'node-1')
  t.same(json, [{ node: 'node-1', ...nodes['node-1'] }])

  const wrong = await cluster.pillion('check', 'node', 'node-9')
  t.match(wrong, { code: 2, err: /no node node-9 in .*; there are node-1, node-2/ })
})
