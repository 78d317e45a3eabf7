// SPDX-License-Identifier: Apache-2.0
// The kinds of Kubernetes itself, as far as they are used; other fields pass unread.
import { isIP } from 'node:net'
import { parseAddress, parsePrefix, prefixHolds, type Prefix } from '@pillion/contract'
import { z } from 'zod'
import {
  dnsName,
  ipAddress,
  labelSelector,
  list,
  portNumber,
  portOrName,
  protocol,
  texts,
} from './scalar.ts'

const ownerReference = z.object({
  kind: z.string(),
  name: z.string(),
  controller: z.boolean().nullish(),
})

export const metadata = z.object({
  name: dnsName,
  namespace: dnsName.optional(),
  uid: z.string().default(''),
  labels: texts,
  annotations: texts,
  generation: z.int().optional(),
  creationTimestamp: z.string().nullish(),
  deletionTimestamp: z.string().nullish(),
  ownerReferences: list(ownerReference),
})
export type Metadata = z.output<typeof metadata>

export const namespace = z.object({ metadata })
export const serviceAccount = z.object({ metadata })

/** Where a node stands; the one label of nodes that is read. */
export const zoneLabel = 'topology.kubernetes.io/zone'

export const node = z.object({
  // Kubelets and autoscalers write labels of nodes all the time: none of the others may look like a change.
  metadata: metadata.extend({
    labels: texts.transform(({ [zoneLabel]: zone }): Record<string, string> =>
      zone === undefined ? {} : { [zoneLabel]: zone },
    ),
  }),
  status: z
    .object({
      addresses: list(
        z
          .object({ type: z.string(), address: z.string() })
          .refine(({ type, address }) => !type.endsWith('IP') || isIP(address) !== 0, {
            path: ['address'],
            error: 'must be an IP address',
          }),
      ),
    })
    .nullish(),
})

const container = z.object({
  ports: list(
    z.object({
      name: z.string().optional(),
      containerPort: portNumber,
      protocol: protocol.default('TCP'),
    }),
  ),
})

export const pod = z.object({
  metadata,
  spec: z.object({
    nodeName: z.string().nullish(),
    serviceAccountName: z.string().nullish(),
    hostNetwork: z.boolean().nullish(),
    containers: list(container),
    initContainers: list(container.extend({ restartPolicy: z.string().nullish() })),
  }),
  status: z
    .object({
      phase: z.string().optional(),
      podIP: ipAddress.or(z.literal('')).optional(),
      podIPs: list(z.object({ ip: ipAddress })),
    })
    .nullish(),
})

/**
 * As the API server has it: an address that means this host, this link or a group is nobody's outside, and taking it would
 * take it from every pod.
 */
const externalIp = ipAddress.refine((text) => !isSpecial(text), {
  error: 'must not be unspecified, loopback, link-local or multicast',
})

const special = [
  ...['0.0.0.0/32', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4'],
  ...['::/128', '::1/128', 'fe80::/10', 'ff00::/8'],
].map(parsePrefix)

function isSpecial(text: string): boolean {
  const address = parseAddress(text)
  return special.some((prefix) => prefixHolds(prefix, address))
}

const clusterIp = ipAddress.or(z.enum(['None', '']))

/** Seconds that a client stays with its endpoint when sessionAffinityConfig does not say. */
export const defaultAffinitySeconds = 10_800

const sessionAffinityConfig = z.object({
  clientIP: z
    .object({
      timeoutSeconds: z.int().min(1).max(86_400).default(defaultAffinitySeconds),
    })
    .nullish(),
})

const loadBalancer = z.object({
  ingress: list(
    z.object({
      ip: ipAddress.or(z.literal('')).nullish(),
      ipMode: z.string().nullish(),
    }),
  ),
})

export const service = z.object({
  metadata,
  spec: z.object({
    type: z.string().default('ClusterIP'),
    clusterIP: clusterIp.nullish(),
    clusterIPs: list(clusterIp),
    externalIPs: list(externalIp),
    internalTrafficPolicy: z.enum(['Cluster', 'Local']).nullish(),
    sessionAffinity: z.enum(['None', 'ClientIP']).nullish(),
    sessionAffinityConfig: sessionAffinityConfig.nullish(),
    ports: list(
      z.object({
        name: z.string().default(''),
        port: portNumber,
        protocol: protocol.default('TCP'),
        targetPort: portOrName.optional(),
        appProtocol: z.string().nullish(),
        nodePort: portNumber.or(z.literal(0)).nullish(),
      }),
    ),
  }),
  status: z.object({ loadBalancer: loadBalancer.nullish() }).nullish(),
})

const hint = list(z.object({ name: z.string() }))

export const endpointSlice = z
  .object({
    metadata,
    addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
    ports: list(
      z.object({
        name: z.string().nullish(),
        port: portNumber.nullish(),
        protocol: protocol.nullish(),
      }),
    ),
    endpoints: list(
      z.object({
        addresses: z.array(z.string()),
        nodeName: z.string().nullish(),
        zone: z.string().nullish(),
        hints: z.object({ forZones: hint, forNodes: hint }).nullish(),
        conditions: z
          .object({
            ready: z.boolean().nullish(),
            serving: z.boolean().nullish(),
            terminating: z.boolean().nullish(),
          })
          .nullish(),
        targetRef: z
          .object({
            kind: z.string().optional(),
            namespace: z.string().optional(),
            name: z.string().optional(),
          })
          .nullish(),
      }),
    ),
  })
  .superRefine(({ addressType, endpoints }, context) => {
    if (addressType === 'FQDN') return
    for (const [i, { addresses }] of endpoints.entries()) {
      for (const [j, text] of addresses.entries()) {
        if (isIP(text) === (addressType === 'IPv4' ? 4 : 6)) continue
        const message = `"${text}" is not an ${addressType} address`
        context.addIssue({
          code: 'custom',
          path: ['endpoints', i, 'addresses', j],
          message,
        })
      }
    }
  })

const policyPort = z
  .strictObject({
    protocol: protocol.default('TCP'),
    port: portOrName.nullish(),
    endPort: portNumber.nullish(),
  })
  .superRefine(({ port, endPort }, context) => {
    if (endPort === undefined || endPort === null) return
    const issue = (message: string): void =>
      context.addIssue({ code: 'custom', path: ['endPort'], message })
    if (typeof port !== 'number') issue('needs a numbered port beside it')
    else if (endPort < port) issue(`must not be less than port ${port}`)
  })

const cidr = z.string().superRefine((text, context) => {
  if (prefixOf(text) !== undefined) return
  const message = `"${text}" is not a CIDR block, for example "10.0.0.0/8"`
  context.addIssue({ code: 'custom', message })
})

const ipBlock = z
  .strictObject({ cidr, except: list(cidr) })
  .superRefine(({ cidr: outer, except }, context) => {
    const around = prefixOf(outer)
    for (const [i, text] of except.entries()) {
      const inner = prefixOf(text)
      if (around === undefined || inner === undefined) continue // said already
      const isPart =
        inner.prefixLength > around.prefixLength && prefixHolds(around, inner.address)
      if (isPart) continue
      const message = `must be a part of ${outer}, and not all of it`
      context.addIssue({ code: 'custom', path: ['except', i], message })
    }
  })

function prefixOf(text: string): Prefix | undefined {
  try {
    return parsePrefix(text)
  } catch {
    return undefined
  }
}

const policyPeer = z
  .strictObject({
    podSelector: labelSelector.nullish(),
    namespaceSelector: labelSelector.nullish(),
    ipBlock: ipBlock.nullish(),
  })
  .superRefine((peer, context) => {
    const selects = Boolean(peer.podSelector ?? peer.namespaceSelector)
    const block = Boolean(peer.ipBlock)
    if (selects !== block) return
    const message = selects
      ? 'ipBlock excludes podSelector and namespaceSelector'
      : 'must have podSelector, namespaceSelector or ipBlock'
    context.addIssue({ code: 'custom', message })
  })

export const networkPolicy = z.object({
  metadata,
  spec: z.strictObject({
    podSelector: labelSelector.default({ matchLabels: {}, matchExpressions: [] }),
    policyTypes: list(z.enum(['Ingress', 'Egress'])),
    // Absent and empty differ: absent says nothing of the direction, see the defaulting of policyTypes.
    ingress: z
      .array(z.strictObject({ from: list(policyPeer), ports: list(policyPort) }))
      .nullish(),
    egress: z
      .array(z.strictObject({ to: list(policyPeer), ports: list(policyPort) }))
      .nullish(),
  }),
})
