// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { OptionError, parseOptions } from '../src/options.ts'

const required = [
  '--node',
  'n',
  '--operator',
  'unix:/o',
  '--listen',
  '10.0.0.1,fd00::1',
  '--admin-socket',
  '/a',
]

t.test('flags, environment, defaults, in this order', async (t) => {
  const options = parseOptions([...required, '--port=1', '--drain-timeout', '1m30s'], {
    PILLION_PROXY_PORT: '2',
    PILLION_PROXY_WORKERS: '3',
  })
  t.match(options, {
    node: 'n',
    port: 1,
    workers: 3,
    drainTimeoutMs: 90_000,
    headerBytes: 65_536,
  })
  t.equal(parseOptions([...required, '--heartbeat', '250'], {}).heartbeatMs, 250)
})

t.test('what cannot be used is named', async (t) => {
  const bad = (argv: string[], message: RegExp): void => {
    t.throws(() => parseOptions(argv, {}), { name: 'OptionError', message })
  }
  bad([...required, '--nope'], /unknown argument "--nope"/)
  bad([...required, 'word'], /unknown argument "word"/)
  bad(required.slice(2), /--node is missing/)
  bad([...required, '--port'], /--port needs a value/)
  bad([...required, '--port', 'x'], /--port: "x"/)
  bad([...required, '--heartbeat', '1 s'], /--heartbeat: "1 s" is not a duration/)
  t.ok(new OptionError('x') instanceof Error)
})
