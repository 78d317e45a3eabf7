// SPDX-License-Identifier: Apache-2.0
// What may leave a cluster in a bug report. An allow-list: of JSON, numbers, truth values and the names of fields stay, and text
// only in fields that are known to hold none of the user's secrets. Everything else is "<removed>". Pure.

export const removed = '<removed>'

/** Fields whose text stays: names, states, messages (scrubbed), and what addresses and matches routing. */
const keptFields = new Set([
  ...[
    'apiVersion',
    'kind',
    'name',
    'namespace',
    'uid',
    'resourceVersion',
    'generateName',
  ],
  ...['creationTimestamp', 'deletionTimestamp', 'finalizers', 'controller', 'time'],
  // status and events
  ...[
    'type',
    'status',
    'reason',
    'message',
    'lastTransitionTime',
    'phase',
    'controllerName',
  ],
  ...['reportingController', 'reportingInstance', 'action', 'fieldPath', 'component'],
  ...[
    'firstTimestamp',
    'lastTimestamp',
    'eventTime',
    'startTime',
    'startedAt',
    'finishedAt',
  ],
  ...['lastHeartbeatTime', 'host', 'nodeName', 'nodes', 'nodeNames', 'node', 'role'],
  // what runs
  ...['image', 'imageID', 'containerID', 'qosClass', 'podIP', 'hostIP', 'ip', 'podIPs'],
  ...[
    'serviceAccountName',
    'restartPolicy',
    'dnsPolicy',
    'priorityClassName',
    'drop',
    'add',
  ],
  ...[
    'kernelVersion',
    'osImage',
    'operatingSystem',
    'architecture',
    'containerRuntimeVersion',
  ],
  ...[
    'kubeletVersion',
    'address',
    'podCIDR',
    'podCIDRs',
    'cpu',
    'memory',
    'terminationMessagePolicy',
  ],
  ...['version', 'versions', 'gitVersion', 'platform', 'major', 'minor', 'goVersion'],
  // our kinds, routes, policies
  ...['group', 'sectionName', 'hostnames', 'method', 'protocol', 'port', 'targetPort'],
  ...[
    'failureMode',
    'acceleration',
    'timeout',
    'request',
    'backendRequest',
    'perTryTimeout',
  ],
  ...[
    'backoff',
    'interval',
    'grpcCodes',
    'service',
    'serviceAccounts',
    'policyTypes',
    'cidr',
  ],
  ...['except', 'operator', 'key', 'text', 'scope', 'requests', 'limits'],
  // debug endpoints
  ...['epoch', 'softwareVersion', 'mapLayout', 'error', 'object', 'file', 'portName'],
  ...['externalAddresses', 'zone', 'hintZones', 'hintNodes'],
  ...['mode', 'policy', 'rule', 'direction', 'lastTime'],
  ...['addresses', 'owner', 'serviceAccount', 'workload', 'app', 'pod', 'routeKind'],
  ...[
    'routeNamespace',
    'routeName',
    'servicePort',
    'consumerNamespace',
    'map',
    'problem',
  ],
  ...['comm', 'state', 'path', 'server', 'level', 'msg', 'stack', 'code', 'signal'],
])

/** Records whose values are chosen by users but select objects: without them no policy can be understood. */
const keptRecords = new Set(['labels', 'matchLabels', 'nodeSelector', 'selector'])

/** `path` of a match is a record with a value; `path` of a log line may be a URL. */
const maxDepth = 64

/** JSON with nothing in it that is not allowed. */
export function redact(value: unknown, field = '', depth = 0): unknown {
  if (depth > maxDepth) return removed
  if (typeof value === 'string') return keptFields.has(field) ? scrub(value) : removed
  if (Array.isArray(value)) return value.map((item) => redact(item, field, depth + 1))
  if (typeof value !== 'object' || value === null) return value
  const isRecord = keptRecords.has(field)
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => {
      if (dropped.has(key)) return []
      if (isRecord && typeof item === 'string') return [[key, scrub(item)]]
      return [[scrub(key), redact(item, key, depth + 1)]]
    }),
  )
}

/** Fields that are left out with their names: they say as much as values do, or nothing at all. */
const dropped = new Set([
  'managedFields',
  'annotations',
  'data',
  'stringData',
  'binaryData',
])

/** What is known to be secret wherever it stands in a text. */
const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]+-----[\s\S]*?(-----END [A-Z ]+-----|$)/g, removed],
  // JSON Web Tokens, service account tokens among them.
  [/\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?/g, removed],
  [/\b(bearer|basic)\s+[\w.~+/=-]+/gi, `$1 ${removed}`],
  // user:password@ of URLs, and what follows a question mark.
  [/(\w+:\/\/)[^\s/@]+@/g, `$1${removed}@`],
  [/\?[^\s"'#]*=[^\s"'#]*/g, `?${removed}`],
  [
    /\b([\w-]*(?:password|passwd|secret|token|api[-_]?key|authorization|cookie|credential)[\w-]*)(["']?\s*[:=]\s*["']?)[^\s"',;]+/gi,
    `$1$2${removed}`,
  ],
  // Long runs without a word in them: keys, hashes of passwords.
  [/\b(?=[\w+/=]*\d)(?=[\w+/=]*[A-Za-z])[A-Za-z0-9+/_]{40,}={0,2}/g, removed],
]

/** Text without what looks secret. */
export function scrub(text: string): string {
  return patterns.reduce((rest, [pattern, by]) => rest.replace(pattern, by), text)
}

/** Log lines: JSON by the allow-list, other text scrubbed. */
export function redactLog(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      if (!line.startsWith('{')) return scrub(line)
      try {
        return JSON.stringify(redact(JSON.parse(line)))
      } catch {
        return scrub(line)
      }
    })
    .join('\n')
}
