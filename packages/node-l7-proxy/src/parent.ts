// SPDX-License-Identifier: Apache-2.0
// The parent process put together: sockets, workers, subscription, admin endpoint, signals.
import { existsSync, rmSync } from 'node:fs'
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
import { loadNative } from './native.ts'
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
  const listenFds = options.listen
    .split(',')
    .map((address) => native.listenSocket(address, options.port, options.reusePort))
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
  const table = adminTable(supervisor)
  const admin = [await serveAdmin(options.adminSocket, table)]
  if (options.healthPort !== 0) admin.push(await serveHealth(options.healthPort, table))
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
    { listen: options.listen, port: options.port, workers: options.workers },
    'started',
  )

  const signal = await stopSignal()
  log.info({ signal, timeoutMs: options.drainTimeoutMs }, 'draining')
  await supervisor.stop()
  await subscription.close()
  for (const server of admin) {
    server.close()
    server.closeAllConnections()
  }
  if (existsSync(options.adminSocket)) rmSync(options.adminSocket)
  log.info('stopped')
  return 0
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
