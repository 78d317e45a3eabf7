// SPDX-License-Identifier: Apache-2.0
import { Endpoint as Message, parseAddress } from '@pillion/contract'
import { Endpoint } from '../../src/cluster/endpoint.ts'
import { Metrics } from '../../src/metrics/metrics.ts'

const labels = new Metrics().destination({
  ...{ service: '', serviceName: '', serviceNamespace: '' },
  ...{ workload: '', namespace: '', principal: '', app: '', version: '' },
})

/** A ready endpoint as the balancer sees it. */
export function makeEndpoint(
  address: string,
  rest: Partial<Omit<Message, 'address'>> = {},
): Endpoint {
  const message = { address: parseAddress(address), port: 8080, weight: 1, ready: true }
  return new Endpoint(
    `shop/web:80/TCP|${address}`,
    Message.fromPartial({ ...message, ...rest }),
    labels,
  )
}
