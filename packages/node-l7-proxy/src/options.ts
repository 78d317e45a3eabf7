// SPDX-License-Identifier: Apache-2.0
// Every option and limit of the proxy, in one table; parsing is a loop over it.

type Kind = 'text' | 'count' | 'ms' | 'bytes'

type Option<T> = {
  readonly flag: string
  readonly env: string
  readonly kind: Kind
  /** undefined: required. */
  readonly default: T | undefined
  readonly doc: string
}

const table = {
  node: text('node', undefined, 'name of this node'),
  operator: text(
    'operator',
    undefined,
    'address of the operator, "unix:PATH" or "host:port"',
  ),
  operatorCa: text(
    'operator-ca',
    '',
    "PEM file of the operator's CA; empty: no TLS, for a UNIX socket or loopback only",
  ),
  operatorToken: text(
    'operator-token',
    '',
    'file of the token that proves the node to the operator; sent over TLS only',
  ),
  operatorServerName: text(
    'operator-server-name',
    '',
    "name in the operator's certificate; empty: host of the address",
  ),
  listen: text(
    'listen',
    undefined,
    'addresses to listen on, IPv4 and IPv6, comma separated',
  ),
  port: number('port', 'count', 15001, 'port to listen on'),
  adminSocket: text(
    'admin-socket',
    undefined,
    'UNIX socket of /healthz /readyz /metrics /debug/config',
  ),
  healthPort: number(
    'health-port',
    'count',
    0,
    '/healthz and /readyz alone, on 127.0.0.1; 0: not served',
  ),
  workers: number('workers', 'count', 1, 'processes that serve requests'),
  handoverSocket: text(
    'handover-socket',
    '',
    'path where a successor takes over the listening sockets; empty: none can',
  ),
  logLevel: text('log-level', 'info', 'fatal, error, warn, info, debug, trace or silent'),
  drainTimeoutMs: number(
    'drain-timeout',
    'ms',
    25_000,
    'how long requests may run on after SIGTERM',
  ),
  heartbeatMs: number('heartbeat', 'ms', 100, 'interval of the dead-man switch'),
  headerBytes: number(
    'max-header-bytes',
    'bytes',
    65_536,
    'largest header of a request or response',
  ),
  headerFields: number(
    'max-header-fields',
    'count',
    256,
    'fields in the header of a request or response',
  ),
  pathBytes: number(
    'max-path-bytes',
    'bytes',
    16_384,
    'longest path with query of a request',
  ),
  connections: number(
    'max-connections',
    'count',
    20_000,
    'downstream connections of a worker',
  ),
  identityConnections: number(
    'max-identity-connections',
    'count',
    10_000,
    'of these, connections of one client identity',
  ),
  requests: number('max-requests', 'count', 20_000, 'requests in flight of a worker'),
  identityRequests: number(
    'max-identity-requests',
    'count',
    10_000,
    'of these, requests of one client identity',
  ),
  serviceRequests: number(
    'max-service-requests',
    'count',
    10_000,
    'of these, requests to one service',
  ),
  stallTimeoutMs: number(
    'stall-timeout',
    'ms',
    300_000,
    'how long a client may leave an answer unread; 0: for ever',
  ),
  streams: number(
    'max-streams',
    'count',
    100,
    'concurrent streams of a downstream HTTP/2 connection',
  ),
  headerTimeoutMs: number(
    'header-timeout',
    'ms',
    10_000,
    'how long the header of a request may take',
  ),
  idleTimeoutMs: number(
    'idle-timeout',
    'ms',
    3_600_000,
    'downstream connections without a request',
  ),
  upstreamIdleMs: number(
    'upstream-idle',
    'ms',
    60_000,
    'upstream connections without a request',
  ),
  connectTimeoutMs: number(
    'connect-timeout',
    'ms',
    5_000,
    'making an upstream connection',
  ),
  poolConnections: number(
    'max-pool',
    'count',
    256,
    'connections to one endpoint for one source identity',
  ),
  pending: number(
    'max-pending',
    'count',
    1024,
    'requests that wait for a connection to one endpoint',
  ),
  affinitySessions: number(
    'max-affinity',
    'count',
    65_536,
    'clients that are remembered for session affinity; the longest silent is forgotten',
  ),
  limitKeys: number(
    'max-limit-keys',
    'count',
    4096,
    'buckets of one rate limit of a service; the one not asked longest is forgotten',
  ),
  limitCalls: number(
    'max-limit-calls',
    'count',
    1024,
    'calls to rate limit services on their way; beyond, failureMode of the limit decides',
  ),
  replayBytes: number(
    'replay-bytes',
    'bytes',
    65_536,
    'longest request body that can be sent again',
  ),
  identityReplayBytes: number(
    'max-identity-replay',
    'bytes',
    16_777_216,
    'bytes kept to send bodies of one client identity again; beyond, they are sent once',
  ),
  bufferedBytes: number(
    'max-buffered',
    'bytes',
    268_435_456,
    'bytes of a worker that wait for a slow client or endpoint; beyond, who holds most is cut off',
  ),
  identityBufferedBytes: number(
    'max-identity-buffered',
    'bytes',
    134_217_728,
    'of these, bytes of requests of one client identity and their answers',
  ),
  serviceBufferedBytes: number(
    'max-service-buffered',
    'bytes',
    134_217_728,
    'of these, bytes of requests to one service and their answers',
  ),
  jwksDir: text(
    'jwks-dir',
    '',
    'directory of the key files that policies name; empty: none are read',
  ),
  filtersDir: text(
    'filters-dir',
    '',
    'directory of the filters that L7Services name; empty: there are none',
  ),
  filterSecretsDir: text(
    'filter-secrets-dir',
    '',
    'directory of the secrets that filters may ask for; empty: there are none',
  ),
  filters: number('max-filters', 'count', 16, 'filters in use at a time'),
  filterPending: number(
    'max-filter-calls',
    'count',
    1024,
    'calls of one filter that it has not answered, or not taken up in time',
  ),
  filterMemory: number(
    'filter-memory',
    'bytes',
    67_108_864,
    'heap and buffers of one filter; beyond, it ends and is started again',
  ),
  heldConnections: number(
    'max-held',
    'count',
    1024,
    'connections that wait for the configuration of their service',
  ),
  heldMs: number('held-timeout', 'ms', 2_000, 'how long a connection waits for it'),
} as const

type Table = typeof table
type Value<O> = O extends Option<infer T> ? T : never
export type Options = { readonly [K in keyof Table]: Value<Table[K]> }

/** The rows, for documentation: flag, env, default, doc. */
export const optionTable: readonly Option<string | number>[] = Object.values(table)

/** A command line that cannot be used; main exits with code 2. */
export class OptionError extends Error {
  override readonly name: string = 'OptionError'
}

/** Values from argv, then the environment, then the defaults. Throws an OptionError that names the flag. */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options {
  const given = readArguments(argv)
  const values: Record<string, string | number> = {}
  for (const [key, option] of Object.entries(table) as [
    string,
    Option<string | number>,
  ][]) {
    const raw = given.get(option.flag) ?? env[option.env]
    if (raw === undefined && option.default === undefined) {
      throw new OptionError(`--${option.flag} is missing: ${option.doc}`)
    }
    values[key] = raw === undefined ? (option.default ?? '') : convert(option, raw)
  }
  return values as unknown as Options
}

function readArguments(argv: readonly string[]): Map<string, string> {
  const flags = new Map(optionTable.map((option) => [option.flag, option]))
  const given = new Map<string, string>()
  for (let i = 0; i < argv.length; i++) {
    const [name = '', inline] = (argv[i] ?? '').split(/=(.*)/s, 2)
    const option = name.startsWith('--') ? flags.get(name.slice(2)) : undefined
    if (option === undefined) throw new OptionError(`unknown argument "${argv[i]}"`)
    const value = inline ?? argv[++i]
    if (value === undefined) throw new OptionError(`${name} needs a value`)
    given.set(option.flag, value)
  }
  return given
}

function convert(option: Option<unknown>, raw: string): string | number {
  if (option.kind === 'text') return raw
  const value =
    option.kind === 'ms' ? durationMs(raw) : /^\d+$/.test(raw) ? Number(raw) : Number.NaN
  if (!Number.isSafeInteger(value)) {
    throw new OptionError(
      `--${option.flag}: "${raw}" is not a ${option.kind === 'ms' ? 'duration (GEP-2257) or milliseconds' : 'whole number'}`,
    )
  }
  return value
}

const unitMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** GEP-2257 ("1m30s") or plain milliseconds. */
function durationMs(raw: string): number {
  if (/^\d+$/.test(raw)) return Number(raw)
  if (!/^(\d{1,5}(h|m|s|ms)){1,4}$/.test(raw)) return Number.NaN
  let sum = 0
  for (const [, digits, unit] of raw.matchAll(/(\d+)(ms|h|m|s)/g)) {
    sum += Number(digits) * unitMs[unit as keyof typeof unitMs]
  }
  return sum
}

function text(flag: string, fallback: string | undefined, doc: string): Option<string> {
  return { flag, env: envName(flag), kind: 'text', default: fallback, doc }
}

function number(flag: string, kind: Kind, fallback: number, doc: string): Option<number> {
  return { flag, env: envName(flag), kind, default: fallback, doc }
}

function envName(flag: string): string {
  return `PILLION_PROXY_${flag.toUpperCase().replaceAll('-', '_')}`
}
