// SPDX-License-Identifier: Apache-2.0
// The agent put together: datapath, discovery, subscription, evidence, debug endpoint.
import { mkdirSync } from 'node:fs'
import {
  Role,
  securityOptions,
  subscribe,
  tellTrouble,
  type Changes,
  type Resources,
  type Subscription,
} from '@pillion/contract'
import {
  cgroupId,
  Datapath,
  EventKind,
  layoutHash,
  type FlowEvent,
  type PlanContext,
} from '@pillion/ebpf-l4'
import type { Logger } from 'pino'
import { DebugServer } from './debug.ts'
import { Executables } from './executables.ts'
import {
  datapathFeatures,
  degradedOf,
  probeExecutables,
  type Feature,
} from './features.ts'
import { clockOffsetMs, FlowLog } from './flows.ts'
import { debugHandlers } from './handlers.ts'
import { Metrics } from './metrics.ts'
import { Names } from './names.ts'
import type { Options } from './options.ts'
import { PreflightProcess } from './preflight.ts'
import { Reconciler } from './reconcile.ts'
import { Store } from './store.ts'
import { PodCgroups } from './workloads.ts'

/**
 * Events of one turn. At one turn in 50 ms this is 20 480 a second at most; what comes faster is dropped and
 * counted in the kernel, rather than paid for by the connections that it reports.
 */
const eventsPerRead = 1024

/** Starts an agent. Throws BpfError or AgentError; nothing is left running then. */
export async function startAgent(options: Options, log: Logger): Promise<Agent> {
  // The loader attaches the socket options there, before the first proxy starts.
  mkdirSync(options.proxyCgroup, { recursive: true })
  const datapath = await Datapath.open({
    objectDir: options.objectDir,
    pinDir: options.pinDir,
    cgroupRoot: options.cgroupRoot,
    proxyCgroup: options.proxyCgroup,
    deadmanMs: options.deadmanMs,
    telemetry: options.telemetry,
  })
  const agent = new Agent(options, log, datapath)
  try {
    await agent.start()
    return agent
  } catch (error) {
    await agent.close()
    throw error
  }
}

export class Agent {
  readonly #options: Options
  readonly #log: Logger
  readonly #datapath: Datapath
  readonly #pods: PodCgroups
  readonly #reconciler: Reconciler
  readonly #store: Store
  readonly #flows: FlowLog
  readonly #metrics: Metrics
  readonly #executables: Executables
  readonly #features: readonly Feature[]
  readonly #debug: DebugServer
  readonly #timers: NodeJS.Timeout[] = []
  #subscription: Subscription | undefined
  #names: Names
  /** Why the node is not ready, as of the last look; empty: it is. */
  #problems: readonly string[] = ['no configuration was applied yet']

  constructor(options: Options, log: Logger, datapath: Datapath) {
    this.#options = options
    this.#log = log
    this.#datapath = datapath
    this.#flows = new FlowLog(options.flows)
    this.#features = [
      probeExecutables(options.procDir),
      ...datapathFeatures(datapath.lacking),
    ]
    this.#metrics = new Metrics({
      kernel: datapath,
      flows: this.#flows,
      names: () => this.#names,
      appliedVersion: () => {
        const state = this.#subscription?.state()
        return state?.kind === 'streaming' ? state.version : 0
      },
      proxyAdminSocket: options.proxyAdminSocket,
      features: this.#features,
    })
    this.#executables = new Executables(options.procDir, (inode, device, verdict) => {
      datapath.setExecutable(inode, device, verdict)
    })
    this.#store = new Store(options.stateDir, options.saveDelayMs, (error) => {
      log.error({ err: error }, 'the configuration could not be saved')
    })
    this.#pods = new PodCgroups(options.cgroupRoot, options.rescanMs, () => {
      this.#refresh()
    })
    const { proxy4, proxy6, proxyPort } = options
    this.#reconciler = new Reconciler({
      kernel: datapath,
      context: () => this.#context(),
      proxy: { proxy4, proxy6, proxyPort },
      onApplied: (report) => {
        this.#metrics.applied(report)
        if (report.writes + report.deletes > 0) log.debug(report, 'applied')
      },
    })
    this.#names = new Names(this.#reconciler.resources)
    const asking = new PreflightProcess(options)
    this.#debug = new DebugServer({
      handlers: debugHandlers({
        node: options.node,
        deadmanMs: options.deadmanMs,
        kernel: datapath,
        reconciler: this.#reconciler,
        metrics: this.#metrics,
        executables: this.#executables,
        features: this.#features,
        preflight: () => asking.ask(),
        subscription: () => this.#subscription?.state(),
        problems: () => this.#problems,
      }),
      flows: this.#flows,
      adminSocket: options.adminSocket,
      debugPort: options.debugPort,
      metricsPort: options.metricsPort,
      onError: (message) => {
        log.error(message)
      },
    })
  }

  async start(): Promise<void> {
    const initial = this.#loadSaved()
    await this.#debug.listen()
    this.#timers.push(
      setInterval(() => {
        this.#readEvents()
      }, this.#options.eventPollMs),
      setInterval(() => {
        this.#verify()
      }, this.#options.rescanMs),
    )
    const { node } = this.#options
    for (const feature of this.#features) {
      if (feature.state === 'degraded') this.#log.warn(feature, 'a feature is degraded')
    }
    const warn = tellTrouble((error) => {
      this.#log.warn(
        { error },
        'no stream from the operator; the last configuration stays',
      )
    })
    this.#subscription = subscribe({
      ...securityOptions(this.#options),
      node,
      role: Role.AGENT,
      mapLayout: layoutHash,
      initial,
      degraded: degradedOf(this.#features),
      onUpdate: (resources, changes) => {
        this.#update(resources, this.#subscription?.resources(), changes)
        this.#store.save(resources)
      },
      onState: (state) => {
        this.#log.debug(state, 'subscription')
        warn(state)
      },
    })
    this.#log.info({ node, adopted: this.#datapath.adopted }, 'agent is running')
  }

  /** Stops the process's part. Programs, links and maps stay, and traffic goes on. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#pods.close()
    await this.#subscription?.close()
    await this.#debug.close()
    await this.#store.flush()
    this.#datapath.close()
  }

  /** What was saved, if it is in force now. */
  #loadSaved(): Resources | undefined {
    try {
      const saved = this.#store.load()
      if (saved === undefined) return undefined
      this.#update(saved)
      this.#log.info('the saved configuration is in force')
      return saved
    } catch (error) {
      this.#log.error({ err: error }, 'the saved configuration cannot be used')
      return undefined
    }
  }

  #update(resources: Resources, base?: Resources, changes?: Changes): void {
    try {
      this.#reconciler.update(resources, base, changes)
    } catch (error) {
      this.#metrics.applyFailed()
      this.#log.error({ err: error }, 'a configuration could not be put in force')
      throw error
    }
    const wasReady = this.#problems.length === 0
    this.#names = new Names(this.#reconciler.resources)
    if (!wasReady) this.#verify()
  }

  #refresh(): void {
    try {
      this.#reconciler.refresh()
    } catch (error) {
      this.#metrics.applyFailed()
      this.#log.error({ err: error }, 'local pods could not be put in force')
    }
  }

  #context(): PlanContext {
    const { node, cgroupRoot, proxyCgroup } = this.#options
    return {
      node,
      cgroups: this.#pods.pods,
      nodeCgroupId: cgroupId(cgroupRoot),
      kubepodsCgroupIds: this.#pods.kubepodsIds,
      proxyCgroupId: idIfThere(proxyCgroup),
    }
  }

  /** Compares the programs that are effective with ours; what others replaced or removed is an error. */
  #verify(): void {
    const lost = this.#datapath.verifyAttached()
    if (lost.length > 0 && this.#reconciler.applied) {
      this.#log.error(
        { problems: lost },
        'programs are not effective, attaching them again',
      )
      this.#datapath.attach()
    }
    const problems = this.#datapath.verifyAttached()
    if (this.#reconciler.applied && problems.join() !== this.#problems.join()) {
      if (problems.length > 0)
        this.#log.error({ problems }, 'programs cannot be attached')
      else this.#log.info('all programs are effective')
    }
    this.#problems = problems
  }

  #readEvents(): void {
    const records = this.#datapath.readEvents(eventsPerRead)
    for (let i = 0; i < records.length; i++) {
      const kind = records.kind(i)
      if (kind === EventKind.EVENT_EXE) void this.#inspect(records.at(i))
      else if (kind === EventKind.EVENT_DENY) {
        this.#metrics.denied(records.at(i), this.#names)
      }
    }
    if (records.length > 0) this.#flows.push(records, this.#names, clockOffsetMs())
  }

  async #inspect(event: FlowEvent): Promise<void> {
    try {
      await this.#executables.onEvent(event)
    } catch (error) {
      this.#log.warn({ err: error }, 'an executable could not be told to the kernel')
    }
  }
}

function idIfThere(path: string): bigint | undefined {
  try {
    return cgroupId(path)
  } catch {
    return undefined // no such cgroup: nobody can be in it
  }
}
