// SPDX-License-Identifier: Apache-2.0
// Resources of the contract, in few words.
import {
  type L7Protocol,
  MatchKind,
  parseAddress,
  Protocol,
  Resource,
  type RetryPolicy,
  RouteRule,
  RouteTable,
  ServicePort,
} from '@pillion/contract'

/** The ServicePort "shop/<service>:80/TCP" with number `id`, at the address that clients of `ask` ask for. */
export function service(
  id: number,
  name: string,
  l7Protocol: L7Protocol,
  more: Partial<Pick<ServicePort, 'localOnly' | 'affinitySeconds' | 'addresses'>> = {},
): Resource {
  const port = { id, namespace: 'shop', service: name, port: 80, l7Protocol }
  const addresses = [parseAddress(`10.96.0.${id}`)]
  const value = {
    ...ServicePort.fromPartial({ ...port, protocol: Protocol.TCP, addresses }),
    ...more,
  }
  return { name: `shop/${name}:80/TCP`, body: { $case: 'servicePort', value } }
}

/** An endpoint of it on 127.0.0.1. */
export function endpoint(
  id: number,
  name: string,
  port: number,
  more: {
    ready?: boolean
    workload?: string
    terminating?: boolean
    node?: string
    identity?: number
    hintZones?: string[]
  } = {},
): Resource {
  return Resource.fromPartial({
    name: `shop/${name}:80/TCP|127.0.0.1:${port}`,
    body: {
      $case: 'endpoint',
      value: {
        serviceId: id,
        address: parseAddress('127.0.0.1'),
        port,
        weight: 1,
        ready: true,
        namespace: 'shop',
        workload: name,
        ...more,
        serviceAccount: 'default',
        app: name,
        version: 'v1',
      },
    },
  })
}

export function table(id: number, name: string, value: Partial<RouteTable>): Resource {
  return {
    name: `shop/${name}:80/TCP`,
    body: {
      $case: 'routeTable',
      value: { ...RouteTable.fromPartial({ serviceId: id }), ...value },
    },
  }
}

/** A rule that sends everything under `prefix` to services of namespace shop with weights. */
export function rule(
  prefix: string,
  backends: Readonly<Record<string, number>>,
  more: Partial<RouteRule> = {},
): RouteRule {
  const base = RouteRule.fromPartial({
    text: `HTTPRoute shop/test ${prefix}`,
    routeKind: 'HTTPRoute',
    routeNamespace: 'shop',
    routeName: 'test',
    match: { path: { kind: MatchKind.PATH_PREFIX, value: prefix } },
    backends: Object.entries(backends).map(([name, weight]) => ({
      servicePort: name === '' ? '' : `shop/${name}:80/TCP`,
      weight,
    })),
  })
  return { ...base, ...more }
}

export function retry(attempts: number, more: Partial<RetryPolicy> = {}): RetryPolicy {
  return { attempts, codes: [], grpcCodes: [], backoffMs: 1, perTryTimeoutMs: 0, ...more }
}
