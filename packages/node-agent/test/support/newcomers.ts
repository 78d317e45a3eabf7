// SPDX-License-Identifier: Apache-2.0
// node newcomers.ts burst|each ADDRESS HOME POD…: makes cgroups of pods and connects to a server of its own at ADDRESS from
// each as soon as it exists; prints a line of JSON: for each pod whether the first connect was refused by policy, and after how many ms one was
// not. `burst`: all cgroups first. In the end it leaves them for HOME.
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'

const [mode, host = '', home = '', ...pods] = process.argv.slice(2)
const giveUpMs = 3000

const server = createServer((socket) => socket.destroy())
await new Promise<void>((resolve) => server.listen(0, host, resolve))
const { port } = server.address() as AddressInfo

/** undefined: it was let through. */
function attempt(): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (code: string | undefined): void => {
      socket.destroy()
      resolve(code)
    }
    socket.once('connect', () => end(undefined))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code))
  })
}

function make(pod: string): number {
  const at = performance.now()
  mkdirSync(join(pod, 'container'), { recursive: true })
  return at
}

/** The process itself moves: no instruction of a new one runs between the cgroup and the connect. */
function enter(cgroup: string): void {
  writeFileSync(join(cgroup, 'cgroup.procs'), String(process.pid))
}

const made = mode === 'burst' ? pods.map(make) : []
const results: { first: string; ms: number }[] = []
for (const [i, pod] of pods.entries()) {
  const since = made[i] ?? make(pod)
  enter(join(pod, 'container'))
  const first = await attempt()
  let code = first
  while (code !== undefined && performance.now() - since < giveUpMs)
    code = await attempt()
  results.push({ first: first ?? 'ok', ms: performance.now() - since })
}
enter(home)
server.close()
console.log(JSON.stringify(results))
