// SPDX-License-Identifier: Apache-2.0
// API servers for tests: the stand-in always, a real one where it is given.
//
// What the stand-in leaves out: strategic merge patch (415), protobuf (415), tables and printer columns, admission webhooks,
// schemas of built-in kinds (their unknown fields are kept, few of their fields are checked: rules.ts, defaults.ts),
// conversion other than None, `scale`, `eviction` and `log`. Events of the core group and of events.k8s.io are two collections.
// Like a server without controllers it neither collects garbage nor makes pods, and a deleted namespace stays Terminating.
import type { ApiServer } from './interface.ts'
import { realAssets, startRealApiServer } from './real.ts'
import { startApiServer } from './server.ts'

export type { ApiServer } from './interface.ts'
export type { Client, Reply, WatchedEvent, Watcher } from './client.ts'
export type { RecordedCall } from './http.ts'
export type { KubeObject, Json, User } from './types.ts'
export { startApiServer, type ApiServerOptions, type StandIn } from './server.ts'
export { userNamed } from './auth.ts'

/** One kind of server that is available, and how to start it. */
export interface Available {
  readonly name: string
  readonly start: () => Promise<ApiServer>
}

/**
 * The servers that a suite should run against: the stand-in, and the real kube-apiserver if `KUBEBUILDER_ASSETS` names a
 * folder with `kube-apiserver` and `etcd` (the convention of envtest). Tests that need a knob of the stand-in use
 * `startApiServer` instead.
 */
export function apiServers(): readonly Available[] {
  const standIn = { name: 'stand-in', start: () => startApiServer() }
  const assets = realAssets()
  if (assets === undefined) return [standIn]
  return [standIn, { name: 'kube-apiserver', start: () => startRealApiServer(assets) }]
}
