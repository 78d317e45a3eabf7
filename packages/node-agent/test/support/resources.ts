// SPDX-License-Identifier: Apache-2.0
// A small shop as the operator would send it to node-1.
import {
  Acceleration,
  Action,
  applyDelta,
  emptyResources,
  L7Protocol,
  FailureMode,
  parseAddress,
  Protocol,
  Resource,
  type Resources,
} from '@pillion/contract'

/** web (local) may call api, nobody else; api has one endpoint here and one on node-2; chat is L7. */
export const shop: readonly Resource[] = [
  of('settings', 'mesh', { acceleration: Acceleration.AUTO }),
  of('rule', '1', { id: 1, text: 'NetworkPolicy shop/api ingress[0]' }),
  of('rule', '2', { id: 2, text: 'NetworkPolicy shop/api (isolates)' }),
  identity(300, 'web'),
  identity(301, 'api'),
  identity(302, 'other'),
  address('10.244.1.2', 300, 'node-1', 'shop/web-1'),
  address('10.244.1.3', 301, 'node-1', 'shop/api-1'),
  address('10.244.2.3', 301, 'node-2', 'shop/api-2'),
  address('10.244.1.4', 302, 'node-1', 'shop/other-1'),
  of('address', '10.245.0.1/128', {
    ...{ address: parseAddress('10.245.0.1'), prefixLength: 128, identity: 2 },
    ...{ node: 'node-1', owner: 'node/node-1', nodeAddress: true },
  }),
  workload('web-1', 300, '10.244.1.2'),
  workload('api-1', 301, '10.244.1.3'),
  workload('other-1', 302, '10.244.1.4'),
  of('subjectPolicy', '301', {
    identity: 301,
    ingress: {
      isolated: true,
      isolationRule: 2,
      entries: [
        {
          ...{ peer: 300, protocol: 6, port: 8080, portBits: 16 },
          ...{ action: Action.ALLOW, rule: 1 },
        },
      ],
    },
  }),
  service(7, 'api', '10.96.0.7'),
  service(8, 'chat', '10.96.0.8', {
    l7Protocol: L7Protocol.HTTP,
    failureMode: FailureMode.REJECT,
  }),
  endpoint(7, 'api', '10.244.1.3', 'node-1', 'api-1'),
  endpoint(7, 'api', '10.244.2.3', 'node-2', 'api-2'),
  endpoint(8, 'chat', '10.244.2.3', 'node-2', 'api-2'),
]

export function resourcesOf(upserts: readonly Resource[]): Resources {
  const delta = {
    version: 1,
    epoch: 'e',
    full: true,
    upserts: [...upserts],
    removals: [],
    replaced: [],
  }
  return applyDelta(emptyResources(), delta).resources
}

/** Any resource; fields that are not given have protobuf's defaults. */
export function of(kind: string, name: string, value: object): Resource {
  return Resource.fromPartial({ name, body: { $case: kind, value } as Resource['body'] })
}

export function identity(id: number, app: string): Resource {
  return of('identity', String(id), {
    ...{ id, namespace: 'shop', serviceAccount: 'default' },
    labels: { app, version: 'v1' },
  })
}

export function address(
  text: string,
  identity: number,
  node: string,
  owner: string,
): Resource {
  return of('address', `${text}/128`, {
    ...{ address: parseAddress(text), prefixLength: 128, identity, node, owner },
  })
}

export function workload(name: string, identity: number, address: string): Resource {
  const app = name.replace(/-\d+$/, '')
  return of('workload', `shop/${name}`, {
    ...{ uid: `uid-${name}`, namespace: 'shop', name, identity, workload: app, app },
    ...{ serviceAccount: 'default', version: 'v1', addresses: [parseAddress(address)] },
  })
}

function service(id: number, name: string, address: string, rest: object = {}): Resource {
  return of('servicePort', `shop/${name}:80/TCP`, {
    ...{ id, namespace: 'shop', service: name, port: 80, protocol: Protocol.TCP },
    ...{ addresses: [parseAddress(address)], ...rest },
  })
}

function endpoint(
  serviceId: number,
  name: string,
  address: string,
  node: string,
  pod: string,
): Resource {
  return of('endpoint', `shop/${name}:80/TCP|${address}:8080`, {
    ...{ serviceId, address: parseAddress(address), port: 8080, weight: 1, ready: true },
    ...{ identity: 301, node, namespace: 'shop', pod, workload: 'api', app: 'api' },
    ...{ version: 'v1', serviceAccount: 'default' },
  })
}
