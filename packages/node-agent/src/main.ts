// SPDX-License-Identifier: Apache-2.0
// pillion-agent: the privileged half of a node; with --uninstall it takes its traces away instead. Exit codes: 0 stopped, 1 failed, 2 wrong command line.
import { pino } from 'pino'
import { startAgent } from './agent.ts'
import { AgentError, messageOf } from './errors.ts'
import { parseOptions, parseUninstall } from './options.ts'
import { uninstall } from './uninstall.ts'
import { podCgroup } from './workloads.ts'

async function main(): Promise<void> {
  const argv = process.argv.slice(2)
  const removal = parseUninstall(argv, process.env)
  if (removal !== undefined) {
    for (const line of await uninstall(removal)) console.log(line)
    return
  }
  const parsed = parseOptions(argv, process.env)
  const { proxyCgroup, proxyPodUid, cgroupRoot } = parsed
  const options = {
    ...parsed,
    proxyCgroup: proxyCgroup === '' ? podCgroup(cgroupRoot, proxyPodUid) : proxyCgroup,
  }
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
