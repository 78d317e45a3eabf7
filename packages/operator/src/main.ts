// SPDX-License-Identifier: Apache-2.0
// The process: options, signals, exit codes (1 failed, 2 usage).
import pino from 'pino'
import { messageOf, OperatorError } from './errors.ts'
import { startOperator } from './operator.ts'
import { parseOptions } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2), process.env)
  const log = pino({ name: 'pillion-operator', level: options.logLevel })
  const operator = await startOperator(options, log)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      operator.close().then(
        () => process.exit(0),
        (error: unknown) => {
          log.fatal({ err: error }, 'close failed')
          process.exit(1)
        },
      )
    })
  }
} catch (error) {
  console.error(`pillion-operator: ${messageOf(error)}`)
  process.exit(error instanceof OperatorError && error.code === 'USAGE' ? 2 : 1)
}
