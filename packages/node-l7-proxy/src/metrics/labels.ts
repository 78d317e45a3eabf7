// SPDX-License-Identifier: Apache-2.0
// Label values of Istio's standard metrics (standards.md 4). Missing is "unknown".
import type { Series } from './series.ts'

/** Who asks. One object a workload, so that series can be found by reference. */
export type SourceLabels = {
  readonly workload: string
  readonly namespace: string
  readonly principal: string
  readonly app: string
  readonly version: string
}

/** Who answers: one object for all endpoints of the same workload behind the same service. */
export class DestinationLabels {
  readonly service: string
  readonly serviceName: string
  readonly serviceNamespace: string
  readonly workload: string
  readonly namespace: string
  readonly principal: string
  readonly app: string
  readonly version: string
  /** Series by source, then by outcome; filled by metrics.ts. */
  readonly series: Map<SourceLabels, Map<number, Series>> = new Map()

  constructor(fields: Omit<DestinationLabels, 'series'>) {
    this.service = fields.service
    this.serviceName = fields.serviceName
    this.serviceNamespace = fields.serviceNamespace
    this.workload = fields.workload
    this.namespace = fields.namespace
    this.principal = fields.principal
    this.app = fields.app
    this.version = fields.version
  }
}

export function orUnknown(text: string | undefined): string {
  return text === undefined || text === '' ? 'unknown' : text
}

/** Istio's principal, or "unknown". */
export function principal(namespace: string, serviceAccount: string): string {
  if (namespace === '' || serviceAccount === '') return 'unknown'
  return `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`
}
