// SPDX-License-Identifier: Apache-2.0
// pillion-agent: the privileged half of a node; with --uninstall it takes its traces away instead, with --preflight it says
// what the node lacks. Exit codes: 0 stopped, or fit; 1 failed, or not fit; 2 wrong command line.
import { BpfError } from '@pillion/ebpf-l4'
import { pino } from 'pino'
import { startAgent } from './agent.ts'
import { AgentError, messageOf } from './errors.ts'
import { parseOptions, parsePreflight, parseUninstall } from './options.ts'
import { preflightText, runPreflight } from './preflight.ts'
import { uninstall } from './uninstall.ts'
import { podCgroup } from './workloads.ts'

async function main(): Promise<void> {
  const argv = process.argv.slice(2)
  const removal = parseUninstall(argv, process.env)
  if (removal !== undefined) {
    for (const line of await uninstall(removal)) console.log(line)
    return
  }
  const asked = parsePreflight(argv, process.env)
  if (asked !== undefined) {
    const result = runPreflight(asked)
    console.log(asked.json ? JSON.stringify(result) : preflightText(result))
    process.exitCode = result.fit ? 0 : 1
    return
  }
  const parsed = parseOptions(argv, process.env)
  const { proxyCgroup, proxyPodUid, cgroupRoot } = parsed
  const options = {
    ...parsed,
    proxyCgroup: proxyCgroup === '' ? podCgroup(cgroupRoot, proxyPodUid) : proxyCgroup,
  }
  const log = pino({ level: options.logLevel, base: { node: options.node } })
  const agent = await startAgent(options, log).catch((error: unknown) => {
    // What the node lacks is the likely reason, and all lines of it are better than the first.
    if (error instanceof BpfError && error.code !== 'FOREIGN_OWNER')
      console.error(preflightText(runPreflight(options), true))
    throw error
  })
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
