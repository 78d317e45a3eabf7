// SPDX-License-Identifier: Apache-2.0
// Runs the mesh's processes: one operator, and an agent and a proxy per node. Each is restarted when it dies; none of
// them takes another one down.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LabError } from '../errors.ts'
import { run } from '../process/run.ts'
import type { NodeInfo } from '../net/addresses.ts'
import { nodePaths, paths, pinRoot } from '../paths.ts'
import { makeCgroup } from '../process/cgroup.ts'
import type { Launch } from '../process/launch.ts'
import { tail } from '../process/log.ts'
import { describeExit, Supervised } from '../process/supervised.ts'
import { pollJson } from '../unix-http.ts'
import {
  agentLaunch,
  type FilterDirs,
  operatorLaunch,
  operatorUser,
  proxyLaunch,
  proxyUser,
} from './launch.ts'
import { unacknowledged, type OperatorStatus } from './acks.ts'

/** How long a new pod waits for the agent before it starts anyway. */
const admitTimeoutMs = 3000
const admitPollMs = 25
/** A process of the mesh that dies once is back at once; one that cannot start does not burn the machine. */
const restartMs = 100

/** What a new proxy may take until it serves. */
const replaceTimeoutMs = 20_000

interface Member {
  readonly name: string
  readonly process: Supervised
  readonly logFile: string
}

export class Mesh {
  readonly #nodes: readonly NodeInfo[]
  readonly #operatorSource: readonly string[]
  readonly #filterDirs: FilterDirs
  readonly #log: (message: string) => void
  readonly #members: Member[] = []
  /** Uids that the agents know, by node, as of the last look. */
  readonly #looks = new Map<string, Promise<ReadonlySet<string>>>()

  constructor(
    nodes: readonly NodeInfo[],
    operatorSource: readonly string[],
    filterDirs: FilterDirs,
    log: (message: string) => void,
  ) {
    this.#nodes = nodes
    this.#operatorSource = operatorSource
    this.#filterDirs = filterDirs
    this.#log = log
  }

  /** Starts everything; nothing is waited for but the operator's socket. */
  async start(): Promise<void> {
    await mountBpffs()
    for (const dir of [paths.software, paths.filters, paths.filterSecrets])
      makeDir(dir, 0, 0, 0o755)
    makeDir(paths.status, operatorUser, proxyUser, 0o755)
    makeDir(paths.operatorDir, operatorUser, proxyUser, 0o750)
    this.#add('operator', join(paths.logs, 'operator.log'), () =>
      operatorLaunch(this.#operatorSource),
    )
    for (const node of this.#nodes) {
      const at = nodePaths(node.name)
      // Agent and proxy make their sockets here; the sticky bit keeps the proxy from the agent's.
      makeDir(at.dir, 0, proxyUser, 0o1770)
      makeDir(at.agentState, 0, 0, 0o700)
      this.#add(`${node.name} agent`, at.agentLog, () => agentLaunch(node))
      this.#add(`${node.name} proxy`, at.proxyLog, () =>
        proxyLaunch(node, this.#filterDirs),
      )
    }
  }

  #add(name: string, logFile: string, launch: () => Launch): void {
    makeCgroup(launch().cgroup)
    const process = new Supervised({
      launch,
      logFile,
      firstBackoffMs: restartMs,
      onExit: (exit) => {
        this.#log(`${name}: ${describeExit(exit)}; it is started again`)
        return true
      },
    })
    this.#members.push({ name, process, logFile })
    process.start()
  }

  /**
   * Puts another proxy in the place of a node's: beside it, on the same sockets, or with a gap, as the replacement of a pod
   * leaves one. Resolves when the new one serves and the old one is gone.
   */
  async replaceProxy(node: string, gap: boolean): Promise<void> {
    const proxy = this.#members.find(({ name }) => name === `${node} proxy`)
    if (proxy === undefined) throw new LabError('not-found', `there is no node ${node}`)
    await (gap ? proxy.process.restart() : proxy.process.succeed())
    const deadline = Date.now() + replaceTimeoutMs
    const { proxySocket } = nodePaths(node)
    while (!hasConfiguration(await pollJson(proxySocket, '/debug/config'))) {
      if (Date.now() > deadline)
        throw new LabError('host', `${node}'s new proxy is not ready: ${proxy.logFile}`)
      await sleep(admitPollMs)
    }
  }

  /** Waits until every agent answers ready, or `timeoutMs` passed. */
  async waitForAgents(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs
    const waiting = new Set(this.#nodes.map(({ name }) => name))
    while (waiting.size > 0 && Date.now() < deadline) {
      for (const name of waiting) {
        const { agentSocket } = nodePaths(name)
        if ((await pollJson(agentSocket, '/debug/workloads', 500)) !== undefined) {
          waiting.delete(name)
        }
      }
      if (waiting.size > 0) await sleep(admitPollMs)
    }
  }

  /** Resolves when the node's agent knows the pod; after a bounded wait in any case. */
  async admit(node: string, uid: string, name: string): Promise<void> {
    const deadline = Date.now() + admitTimeoutMs
    while (Date.now() < deadline) {
      if ((await this.#known(node)).has(uid)) return
    }
    this.#log(
      `pod ${name}: ${node}'s agent did not list it within ${admitTimeoutMs} ms; started anyway`,
    )
  }

  /** One look at the agent serves every pod that waits on that node. */
  #known(node: string): Promise<ReadonlySet<string>> {
    let look = this.#looks.get(node)
    if (look === undefined) {
      look = this.#look(node).finally(() => this.#looks.delete(node))
      this.#looks.set(node, look)
    }
    return look
  }

  async #look(node: string): Promise<ReadonlySet<string>> {
    await sleep(admitPollMs)
    const workloads = await pollJson(nodePaths(node).agentSocket, '/debug/workloads')
    const list = Array.isArray(workloads) ? (workloads as { uid?: string }[]) : []
    return new Set(list.flatMap(({ uid }) => (uid === undefined ? [] : [uid])))
  }

  /** Why the configuration is not in force everywhere; empty when it is. */
  async problems(): Promise<string[]> {
    const now = Date.now()
    const down = this.#members.filter(({ process }) => process.state.kind !== 'running')
    const dead = down.map(({ name, process, logFile }) =>
      [
        `${name}: ${process.describe(now)}`,
        ...tail(logFile, 3).map((line) => `    ${line}`),
      ].join('\n'),
    )
    const status = await pollJson(paths.operatorAdmin, '/debug/status')
    if (status === undefined)
      return [...dead, 'operator: its admin socket does not answer']
    const names = this.#nodes.map(({ name }) => name)
    return [...dead, ...unacknowledged(status as OperatorStatus, names)]
  }

  /** State of each process, for people. */
  describe(): { name: string; state: string; restarts: number }[] {
    return this.#members.map(({ name, process }) => ({
      name,
      state: process.describe(Date.now()),
      restarts: process.restarts,
    }))
  }
}

const hasConfiguration = (config: unknown): boolean =>
  (config as { inForce?: unknown } | undefined)?.inForce !== undefined

function makeDir(dir: string, uid: number, gid: number, mode: number): void {
  mkdirSync(dir, { recursive: true })
  chownSync(dir, uid, gid)
  chmodSync(dir, mode)
}

/** Pins need a BPF file system; the mark lets `down` undo the mount. */
async function mountBpffs(): Promise<void> {
  const mounted = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[1] === '/sys/fs/bpf')
  if (!mounted) {
    if (!existsSync('/sys/fs/bpf')) mkdirSync('/sys/fs/bpf', { recursive: true })
    writeFileSync(paths.bpffsMark, '')
    await run('mount', ['-t', 'bpf', 'bpf', '/sys/fs/bpf'])
  }
  mkdirSync(pinRoot, { recursive: true })
}
