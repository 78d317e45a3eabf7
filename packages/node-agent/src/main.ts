// SPDX-License-Identifier: Apache-2.0
// pillion-agent: the privileged half of a node. Exit codes: 0 stopped, 1 failed, 2 wrong command line.
import { pino } from 'pino'
import { startAgent } from './agent.ts'
import { AgentError, messageOf } from './errors.ts'
import { parseOptions } from './options.ts'

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), process.env)
  const log = pino({ level: options.logLevel, base: { node: options.node } })
  const agent = await startAgent(options, log)
  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping; the datapath stays in force')
    agent.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, 'could not stop cleanly')
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

main().catch((error: unknown) => {
  console.error(`pillion-agent: ${messageOf(error)}`)
  process.exit(error instanceof AgentError && error.code === 'OPTION' ? 2 : 1)
})
