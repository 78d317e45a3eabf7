// SPDX-License-Identifier: Apache-2.0
// inspect.ts PROC_DIR PID INODE DEVICE: what an agent with this process's rights finds out, and what it may not do, as JSON.
import { closeSync, openSync } from 'node:fs'
import { inspectExecutable } from '../../src/executables.ts'
import { probeExecutables } from '../../src/features.ts'

const [procDir = '', pid = '', inode = '', device = ''] = process.argv.slice(2)

function code(act: () => void): string {
  try {
    act()
    return 'done'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'other'
  }
}

const event = {
  pid: Number(pid),
  exeInode: BigInt(inode),
  exeDevice: Number(device),
  comm: Buffer.alloc(16),
}
const writing = (file: string): string =>
  code(() => closeSync(openSync(`${procDir}/${pid}/${file}`, 'w')))
console.log(
  JSON.stringify({
    feature: probeExecutables(procDir),
    found: await inspectExecutable(event, procDir),
    memory: writing('mem'),
    oom: writing('oom_score_adj'),
    signal: code(() => process.kill(Number(pid), 0)),
  }),
)
