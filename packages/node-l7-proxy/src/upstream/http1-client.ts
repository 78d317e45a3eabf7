// SPDX-License-Identifier: Apache-2.0
// undici's client of one connection, and how much of what came over it was answers.
import type { Socket } from 'node:net'
import { Client, type Dispatcher } from 'undici'
import { FloodGauge } from '../limit/flood.ts'
import { FloodError } from './failure.ts'
import type { UpstreamSettings } from './pool.ts'

/** A handler that wants to know which connection its request got. */
export type CountedHandler = Dispatcher.DispatchHandler & {
  onClient(client: CountedClient): void
}

export class CountedClient extends Client {
  /** Of the connection; undefined: there was none yet. */
  gauge: FloodGauge | undefined

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    ;(handler as CountedHandler).onClient(this)
    return super.dispatch(options, handler)
  }
}

/** Cuts an HTTP/1.1 connection when more comes over it than its answers explain. */
export function watchFloods(socket: Socket, settings: UpstreamSettings): FloodGauge {
  const gauge = new FloodGauge(socket, performance.now(), settings.headerBytes)
  settings.floods.watch(gauge, () => socket.destroy(new FloodError()))
  socket.once('close', () => {
    settings.floods.forget(gauge)
  })
  return gauge
}
