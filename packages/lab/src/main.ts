// SPDX-License-Identifier: Apache-2.0
// The supervisor: lives as long as the lab, owns its pods. Started by `pillion lab up` in the lab's own cgroup; ended,
// with everything else, by `pillion lab down`. Its output is a log file.
import { messageOf } from './errors.ts'
import { parseOptions } from './options.ts'
import { paths } from './paths.ts'
import { rotateLogs } from './process/log.ts'
import { serveApi } from './supervisor/api.ts'
import { Lab } from './supervisor/lab.ts'

const rotateEveryMs = 5000

function log(message: string): void {
  console.log(`${new Date().toISOString()} ${message}`)
}

// A bug in one pod's bookkeeping must not take the whole lab down; it is in the log.
process.on('unhandledRejection', (error) => log(`unhandled: ${messageOf(error)}`))

const lab = new Lab({ ...parseOptions(process.argv.slice(2)), log })
await serveApi(lab)
setInterval(() => {
  try {
    rotateLogs(paths.logs)
  } catch (error) {
    log(`logs: ${messageOf(error)}`)
  }
}, rotateEveryMs)
await lab.start()
log(
  `${lab.progress.phase}: ${[lab.progress.message, ...lab.progress.reasons].join('\n')}`,
)
