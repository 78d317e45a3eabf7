// SPDX-License-Identifier: Apache-2.0
// Our own kinds, mesh.pillion.dev/v1alpha1: the one source of types, validation and CRDs. What is not known is an error: a typo
// must not switch protection off. Descriptions are what `kubectl explain` prints; every list is bounded, so that the API server
// can price the rules.
import { grpcCodes } from '@pillion/contract'
import { z } from 'zod'
import { accessHttp, jwtProvider } from './access-http.ts'
import { metadata } from './core.ts'
import { filterSource, serviceFilters } from './filters.ts'
import { ruled } from './rule.ts'
import {
  dnsName,
  duration,
  items,
  labelMap,
  list,
  portNumber,
  portOrName,
  protocol,
  set,
  strictSelector,
} from './scalar.ts'
import { trafficFields } from './traffic.ts'

const failureMode = z.enum(['Bypass', 'Reject'])
export const acceleration = z.enum(['Off', 'On', 'Auto'])

const image = z.string().min(1).max(512).regex(/^\S+$/, { error: 'must be an image' })

/** A Quantity of resource/v1, positive. */
const quantity = z
  .string()
  .max(32)
  .regex(/^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$/, {
    error: 'must be a quantity, as "250m" or "256Mi"',
  })

const collector = z
  .string()
  .max(512)
  .regex(/^https?:\/\/[A-Za-z0-9.:[\]-]+(\/[!-~]*)?$/, {
    error:
      'must be an http or https address, as "http://otel-collector.observability:4318"',
  })

const quantities = (what: string) =>
  z
    .strictObject({
      cpu: quantity.optional().describe('Processor time, as "250m".'),
      memory: quantity.optional().describe('Memory, as "256Mi".'),
    })
    .optional()
    .describe(what)

const resources = (process: string) =>
  z
    .strictObject({
      requests: quantities('What is reserved on each node.'),
      limits: quantities(
        'What is never exceeded. BPF maps count as memory of the agent.',
      ),
    })
    .optional()
    .describe(`Of the ${process}. Absent: as the operator has it.`)

const meshSpec = z.strictObject({
  images: z
    .strictObject({
      agent: image.optional().describe('Image of the agent.'),
      proxy: image.optional().describe('Image of the L7 proxy.'),
    })
    .optional()
    .describe(
      'What runs on the nodes. Absent: the images that belong to the operator, so that upgrading it upgrades the nodes.',
    ),
  resources: z
    .strictObject({ agent: resources('agent'), proxy: resources('L7 proxy') })
    .optional()
    .describe('What the processes of a node may use.'),
  filters: filterSource
    .optional()
    .describe('Where the filters come from that L7Services name (docs/l7-filters.md).'),
  nodeSelector: labelMap
    .optional()
    .describe('Labels of the nodes that take part. Absent or empty: all nodes.'),
  failureMode: failureMode
    .default('Bypass')
    .describe(
      'What connections to L7 services get while the proxy of their node is away, unless the L7Service says otherwise: Bypass (L4 balancing) or Reject (refused at once).',
    ),
  acceleration: acceleration
    .default('Auto')
    .describe(
      'Whether messages between two pods of a node skip TCP. Auto: only between executables that are known to allow it. In YAML write "Off" and "On" with quotes.',
    ),
  tracing: z
    .strictObject({
      sampleRatio: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .describe('Share of new traces that is recorded, 0 to 1.'),
      collector: collector
        .optional()
        .describe(
          'Where spans go, as "http://otel-collector.observability:4318": OTLP over HTTP with protobuf; a path is used as it is, without one it is /v1/traces. Absent: spans are written nowhere.',
        ),
    })
    .optional()
    .describe('Distributed tracing of requests to L7 services.'),
  accessLog: z
    .boolean()
    .default(false)
    .describe('Whether proxies write a line for every request.'),
  accessLogSampleRatio: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      'Share of requests that accessLog writes, 0 to 1. Requests that the proxy itself failed are always written. Absent: 1.',
    ),
  otelMetrics: z
    .boolean()
    .default(false)
    .describe(
      "Whether proxies also measure requests by OpenTelemetry's names: http.server.request.duration, rpc.server.call.duration.",
    ),
})

export const mesh = ruled(
  z.object({
    metadata,
    spec: meshSpec.describe('How the mesh behaves.'),
  }),
  {
    cel: "self.metadata.name == 'default'",
    holds: ({ metadata: { name } }) => name === 'default',
    message: 'must be "default": there is one Mesh',
    path: ['metadata', 'name'],
  },
).describe('The mesh of this cluster: its defaults. There is one, named "default".')

const targetRef = z.strictObject({
  group: z.literal('').optional().describe('API group of the target: the core group.'),
  kind: z.literal('Service').optional().describe('Kind of the target.'),
  name: dnsName.describe('Name of the Service, in the namespace of this object.'),
  port: portNumber
    .optional()
    .describe(
      'Port of the Service. Absent: all its ports that no other L7Service names.',
    ),
})

const timeouts = ruled(
  z.strictObject({
    request: duration
      .optional()
      .describe(
        'Time for a request with all its retries, as "10s"; "0s" or absent: no limit.',
      ),
    backendRequest: duration
      .optional()
      .describe('Time for one attempt at a backend; "0s" or absent: no limit.'),
  }),
  {
    // 0s disables, so it is never the smaller one (GEP-1742).
    cel: "!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)",
    holds: ({ request = 0, backendRequest = 0 }) =>
      request === 0 || backendRequest <= request,
    message: 'must not exceed request',
    path: ['backendRequest'],
  },
)

const retries = z.strictObject({
  attempts: z
    .int()
    .min(0)
    .max(100)
    .describe('How often a failed request is tried again, at most.'),
  codes: set(z.int().min(400).max(599), 200).describe(
    'HTTP status codes of an answer that is tried again.',
  ),
  grpcCodes: set(z.enum(grpcCodes), grpcCodes.length).describe(
    'gRPC status codes of an answer that is tried again.',
  ),
  backoff: duration
    .optional()
    .describe('Base of the time between attempts; it grows from one to the next.'),
  perTryTimeout: duration
    .optional()
    .describe('Time for each attempt; "0s" or absent: no limit of its own.'),
})
export type Retries = z.output<typeof retries>

/** The limits of GEP-3388. */
const interval = ruled(duration, {
  cel: "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
  holds: (ms) => ms >= 1000 && ms <= 3_600_000,
  message: 'must be from 1s to 1h',
})

const retryBudget = z.strictObject({
  percent: z
    .int()
    .min(0)
    .max(100)
    .default(20)
    .describe('Retries in the interval, as a percentage of its requests, at most.'),
  interval: interval
    .prefault('10s')
    .describe('Time over which requests and retries are counted, 1s to 1h.'),
  minRetryRate: z
    .strictObject({
      count: z
        .int()
        .min(0)
        .max(1_000_000)
        .default(10)
        .describe('Retries in an interval that are always allowed.'),
      interval: interval
        .prefault('1s')
        .describe('Interval in which count applies, 1s to 1h.'),
    })
    .optional()
    .describe('Retries that are allowed whatever the percentage. Absent: 10 in 1s.'),
})

export const l7Service = z
  .object({
    metadata,
    spec: ruled(
      z.strictObject({
        targetRef: targetRef.describe('The Service whose requests need L7 handling.'),
        protocol: z
          .enum(['http', 'http2', 'grpc'])
          .describe('What the Service speaks. Nothing is guessed from the bytes.'),
        failureMode: failureMode
          .optional()
          .describe(
            'What connections get while the proxy of their node is away: Bypass (L4 balancing) or Reject (refused at once). Absent: as the Mesh says.',
          ),
        timeouts: timeouts
          .optional()
          .describe('Time limits of requests, where a route has none of its own.'),
        retries: retries
          .optional()
          .describe('Retries of requests, where a route has none of its own.'),
        retryBudget: retryBudget
          .optional()
          .describe('Limit of all retries to the Service, whatever route they take.'),
        ...trafficFields,
        filters: serviceFilters.describe(
          'Filters of your own that requests go through, in this order; answers in the opposite one (docs/l7-filters.md). Absent: none.',
        ),
      }),
      {
        cel: '!has(self.hedging) || !has(self.retries)',
        holds: ({ hedging, retries: again }) =>
          hedging === undefined || again === undefined,
        message: 'does not go with retries (gRFC A6): choose one',
        path: ['hedging'],
      },
    ).describe('Which Service, and how its requests are handled.'),
  })
  .describe(
    'Declares that a Service needs L7 handling: its connections go through the proxy of the node.',
  )

const serviceAccount = z
  .string()
  .max(317)
  .regex(/^[a-z0-9.-]+\/[a-z0-9.-]+$/, { error: 'must be "namespace/name"' })

const accessPeer = ruled(
  z.strictObject({
    namespaceSelector: strictSelector
      .optional()
      .describe(
        'Pods of namespaces with these labels; {} is every namespace. Absent: with podSelector the namespace of this object, else every namespace.',
      ),
    podSelector: strictSelector
      .optional()
      .describe('Pods with these labels; {} or absent: every pod.'),
    serviceAccounts: items(serviceAccount, 64)
      .min(1)
      .optional()
      .describe('Pods that run as one of these service accounts, as "namespace/name".'),
  }),
  {
    cel: 'has(self.namespaceSelector) || has(self.podSelector) || has(self.serviceAccounts)',
    holds: (peer) => Object.values(peer).some((field) => field !== undefined),
    message: 'must have namespaceSelector, podSelector or serviceAccounts',
  },
)

const accessPort = ruled(
  z.strictObject({
    protocol: protocol.default('TCP').describe('Protocol of the port.'),
    port: portOrName.describe('Number of the port, or the name that it has in the pod.'),
    endPort: portNumber
      .optional()
      .describe('Last port of the range that starts with port, which is a number then.'),
  }),
  {
    cel: '!has(self.endPort) || (type(self.port) == int && self.endPort >= self.port)',
    holds: ({ port, endPort }) =>
      endPort === undefined || (typeof port === 'number' && endPort >= port),
    message: 'needs a numbered port beside it that is not greater',
    path: ['endPort'],
  },
)

const accessRule = z.strictObject({
  // Never allow-all by omission: everybody is said by an empty namespaceSelector.
  from: z
    .array(accessPeer)
    .min(1, {
      error: 'must name at least one peer; for every pod: namespaceSelector: {}',
    })
    .max(64)
    .describe('Who calls: a peer matches when all its fields do. At least one peer.'),
  ports: list(accessPort, 64).describe('Which ports are called. Empty or absent: all.'),
  http: list(accessHttp, 16).describe(
    'Which requests: those that one of these matches. Such a rule is for connections through a proxy, to a declared L7 service; others it does not allow, and those of action Deny are refused. Empty or absent: connections, whatever they carry.',
  ),
})

export const accessPolicy = z
  .object({
    metadata,
    spec: z
      .strictObject({
        selector: strictSelector
          .prefault({})
          .describe('Pods of this namespace that are called. Empty: all of them.'),
        action: z
          .enum(['Allow', 'Deny'])
          .default('Allow')
          .describe(
            'Allow: of connections to these pods, only those that a rule of some policy allows. Deny: those that match a rule are refused, whatever else allows them.',
          ),
        mode: z
          .enum(['Enforce', 'Shadow'])
          .default('Enforce')
          .describe(
            'Enforce: in force. Shadow: nothing is refused or allowed by it; what it would refuse is counted, see pillion policy shadow.',
          ),
        rules: list(accessRule, 64).describe(
          'Connections that the action is about: those that match one of the rules.',
        ),
        jwt: list(jwtProvider, 8).describe(
          'Whose tokens are believed. Rules with claims or token need one.',
        ),
      })
      .describe('Which pods, and who may call them.'),
  })
  .describe('Says who may connect to the pods of a namespace.')
