// SPDX-License-Identifier: Apache-2.0
// What the lab uses: reading manifests, and the operator's own opinion of them.
export { loadDirectory, validateObjects } from './api/load.ts'
export { describe, isManifest, readDocuments, type Document } from './api/manifest.ts'
export {
  describeKey,
  formatError,
  objectKey,
  rawKey,
  type RawObject,
  type ValidationError,
} from './api/object.ts'
export { OperatorError, type OperatorErrorCode } from './errors.ts'
export { optionTable, parseOptions, type Options } from './options.ts'
export type { Condition } from './compile/condition.ts'
export type { SubscriberStatus } from './publish/publisher.ts'
export type { ObjectStatus } from './status/conditions.ts'
export { ApiError, type ApiClient } from './watch/client.ts'
export {
  Cluster,
  connectCluster,
  defaultKubeconfigs,
  type ClusterOptions,
} from './watch/cluster.ts'
export { connectApi } from './watch/connect.ts'
export { Reflector, type ReflectorSink, type ServerObject } from './watch/reflector.ts'
export { pathOf, type Resource } from './watch/resources.ts'
