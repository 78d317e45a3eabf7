// SPDX-License-Identifier: Apache-2.0
import { formatAddress } from '@pillion/contract'
import t from 'tap'
import { optionTable, parseOptions, parseUninstall } from '../src/options.ts'

const required = [
  ...['--node', 'node-1', '--operator', 'unix:/o.sock', '--cgroup-root', '/cg'],
  ...['--proxy-cgroup', '/cg/p', '--pin-dir', '/bpf/x', '--state-dir', '/s'],
  ...['--admin-socket', '/a.sock'],
]

t.test("the lab's command line", async (t) => {
  const options = parseOptions(
    [
      ...required,
      ...['--debug-port', '15099', '--proxy-address', '10.245.0.1,fd00:10:245::1'],
      ...['--proxy-port', '15001', '--proxy-admin-socket', '/p.sock'],
    ],
    {},
  )
  t.match(options, { node: 'node-1', debugPort: 15099, proxyPort: 15001 })
  t.equal(formatAddress(options.proxy4 ?? Buffer.alloc(0)), '10.245.0.1')
  t.equal(formatAddress(options.proxy6 ?? Buffer.alloc(0)), 'fd00:10:245::1')
  t.match(options.objectDir, /bpf\/\.output$/)
})

t.test('a flag wins over the environment, this over the default', async (t) => {
  const env = { PILLION_AGENT_FLOWS: '10', PILLION_AGENT_LOG_LEVEL: 'debug' }
  const options = parseOptions([...required, '--flows=20'], env)
  t.match(options, { flows: 20, logLevel: 'debug', deadmanMs: 400 })
})

t.test('errors name the flag', async (t) => {
  const parse = (...extra: string[]) => parseOptions([...required, ...extra], {})
  t.throws(() => parseOptions([], {}), { code: 'OPTION', message: /--node is missing/ })
  t.throws(() => parse('--nonsense'), { code: 'OPTION', message: /"--nonsense"/ })
  t.throws(() => parse('--flows'), { code: 'OPTION', message: /--flows needs a value/ })
  t.throws(() => parse('--flows', 'x'), { code: 'OPTION', message: /--flows/ })
  t.throws(() => parse('--debug-port', '70000'), { code: 'OPTION', message: /port/ })
  t.throws(() => parse('--telemetry', 'on'), { code: 'OPTION', message: /"on" is none/ })
  t.throws(() => parse('--proxy-address', 'me'), { code: 'OPTION', message: /"me"/ })
})

t.test('the proxy is found by its cgroup or by its pod', async (t) => {
  const without = required.filter(
    (_, i, all) => !/proxy-cgroup/.test((all[i] ?? '') + (all[i - 1] ?? '')),
  )
  const error = { code: 'OPTION', message: /one of --proxy-cgroup/ }
  t.throws(() => parseOptions(without, {}), error)
  t.throws(() => parseOptions([...required, '--proxy-pod-uid', 'u'], {}), error)
  t.match(parseOptions([...without, '--proxy-pod-uid', 'u'], {}), { proxyPodUid: 'u' })
})

t.test('uninstall takes the same command line, and needs less', async (t) => {
  t.equal(parseUninstall(required, {}), undefined)
  const where = { pinDir: '/bpf/x', cgroupRoot: '/cg', stateDir: '/s' }
  t.match(parseUninstall([...required, '--uninstall'], {}), where)
  const least = ['--uninstall', '--pin-dir', '/bpf/x', '--cgroup-root', '/cg']
  t.match(parseUninstall([...least, '--state-dir', '/s'], {}), where)
  t.throws(() => parseUninstall(least, {}), { message: /--state-dir is missing/ })
  t.throws(() => parseUninstall([...least, '--nonsense', '1'], {}), { code: 'OPTION' })
})

t.test('every option is documented', async (t) => {
  for (const { flag, env, doc } of optionTable) {
    t.ok(doc.length > 5 && env.startsWith('PILLION_AGENT_'), flag)
  }
})
