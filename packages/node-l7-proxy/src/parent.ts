// SPDX-License-Identifier: Apache-2.0
// The parent process put together: sockets, workers, subscription, admin endpoint, signals.
import { Role, securityOptions, subscribe, tellTrouble } from '@pillion/contract'
import pino from 'pino'
import { AggregatorRegistry, type MetricObject, Registry } from 'prom-client'
import {
  type AdminTable,
  jsonAnswer,
  serveAdmin,
  serveHealth,
  textAnswer,
} from './admin.ts'
import { type Predecessor, offerSockets, takeOver } from './handover.ts'
import { loadNative, type Native } from './native.ts'
import type { Options } from './options.ts'
import { Supervisor } from './supervisor.ts'

/** Runs until SIGTERM or SIGINT; resolves with the exit code. */
export async function runParent(
  options: Options,
  workerModule: URL,
  argv: readonly string[],
): Promise<number> {
  const log = pino(
    { level: options.logLevel, base: { node: options.node, pid: process.pid } },
    pino.destination({ dest: 1, sync: true }),
  )
  const native = loadNative()
  const { handoverSocket } = options
  const listening = `${options.listen} ${options.port}`
  const predecessor =
    handoverSocket === '' ? undefined : takeOver(native, handoverSocket, listening)
  const listenFds = predecessor?.sockets ?? listenSockets(native, options)
  const supervisor = new Supervisor({
    workerModule,
    argv,
    workers: options.workers,
    listenFds,
    drainTimeoutMs: options.drainTimeoutMs,
    // While anybody holds them, connects would wait in a backlog that nobody serves.
    onStopped: () => {
      for (const fd of listenFds) native.closeFd(fd)
    },
    log,
  })
  const stopped = stopSignal()
  supervisor.start()
  const warn = tellTrouble((error) => {
    log.warn({ error }, 'no stream from the operator; the last configuration stays')
  })
  const subscription = subscribe({
    ...securityOptions(options),
    node: options.node,
    role: Role.PROXY,
    onUpdate: async (resources, changes) => supervisor.configure(resources, changes),
    onState: (state) => {
      log.debug({ state }, 'operator')
      warn(state)
    },
  })
  log.info(
    { listening, workers: options.workers, takesOver: predecessor !== undefined },
    'started',
  )
  if (predecessor !== undefined && (await isStopped(predecessor, supervisor, stopped))) {
    predecessor.leave()
    await supervisor.stop(true)
    await subscription.close()
    return 0
  }

  // From here on this is the proxy that others ask, and that hands over.
  const closeAdmin = await openAdmin(options, supervisor)
  const offer =
    handoverSocket === ''
      ? undefined
      : await offerSockets(native, handoverSocket, listening, listenFds, (error) => {
          log.error({ err: error }, 'the listening sockets cannot be handed over')
        })
  const ending = await Promise.race([stopped, ...(offer ? [offer.taken] : [])])
  const succeeded = ending === 'succeeded'
  const { drainTimeoutMs } = options
  log.info({ why: ending, drainTimeoutMs }, 'draining')
  offer?.close()
  // A successor has the admin socket and the health port from here on, also one that does not serve yet.
  if (offer?.successor !== undefined) closeAdmin()
  offer?.successor?.end()
  await supervisor.stop(succeeded)
  await subscription.close()
  closeAdmin()
  log.info('stopped')
  return 0
}

/** Opens admin socket and health port; what it returns closes them. */
async function openAdmin(options: Options, supervisor: Supervisor): Promise<() => void> {
  const table = adminTable(supervisor)
  const servers = [await serveAdmin(options.adminSocket, table)]
  if (options.healthPort !== 0) servers.push(await serveHealth(options.healthPort, table))
  return () => {
    for (const server of servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}

const listenSockets = (native: Native, { listen, port }: Options): number[] =>
  listen.split(',').map((address) => native.listenSocket(address, port))

/** The predecessor goes on until we serve; if it dies before, we are the proxy at once. True: we are stopped before. */
async function isStopped(
  predecessor: Predecessor,
  supervisor: Supervisor,
  stopped: Promise<unknown>,
): Promise<boolean> {
  const ready = Promise.race([supervisor.serving, predecessor.gone])
  const first = await Promise.race([ready.then(() => 'ready'), stopped])
  if (first !== 'ready') return true
  await predecessor.dismiss()
  return false
}

function adminTable(supervisor: Supervisor): AdminTable {
  return {
    '/healthz': () => textAnswer(200, 'ok'),
    '/readyz': () =>
      supervisor.ready
        ? textAnswer(200, 'ready')
        : textAnswer(503, 'no worker listens with a configuration'),
    '/metrics': async () => {
      const answers = (await supervisor.ask('metrics')) as MetricObject[][]
      const registry = AggregatorRegistry.aggregate(answers)
      return {
        status: 200,
        type: Registry.PROMETHEUS_CONTENT_TYPE,
        body: (await registry.metrics()) + ownMetrics(supervisor),
      }
    },
    '/debug/config': async () =>
      jsonAnswer({
        workers: supervisor.pids,
        inForce: (await supervisor.ask('config'))[0],
      }),
  }
}

function ownMetrics(supervisor: Supervisor): string {
  return [
    '# HELP pillion_worker_crashes_total workers that died without being asked to',
    '# TYPE pillion_worker_crashes_total counter',
    `pillion_worker_crashes_total ${supervisor.crashes}`,
    '# HELP pillion_workers workers that run',
    '# TYPE pillion_workers gauge',
    `pillion_workers ${supervisor.pids.length}`,
    '',
  ].join('\n')
}

async function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  // `on`, not `once`: a second signal must not kill us while requests drain.
  process.on('SIGTERM', resolve)
  process.on('SIGINT', resolve)
  return promise
}
