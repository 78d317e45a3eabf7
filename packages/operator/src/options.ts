// SPDX-License-Identifier: Apache-2.0
// Every option and limit of the operator, in one table; parsing is a loop over it.
import { OperatorError } from './errors.ts'

type Kind = 'text' | 'ms' | 'bytes' | 'count'

interface Option<K extends Kind = Kind> {
  readonly flag: string
  readonly env: string
  readonly kind: K
  /** undefined: required. */
  readonly default: string | undefined
  readonly doc: string
  /** The only source that it is for; with another it need not be given and is not read. */
  readonly source: Source | undefined
}

const sources = ['directory', 'kubernetes'] as const
type Source = (typeof sources)[number]

function option<K extends Kind>(
  flag: string,
  kind: K,
  fallback: string | undefined,
  doc: string,
  source?: Source,
): Option<K> {
  const env = `PILLION_OPERATOR_${flag.toUpperCase().replaceAll('-', '_')}`
  return { flag, env, kind, default: fallback, doc, source }
}

export const optionTable = {
  source: option(
    'source',
    'text',
    'directory',
    'where objects come from: directory or kubernetes',
  ),
  dir: option(
    'dir',
    'text',
    undefined,
    'directory of YAML and JSON manifests, with everything below it; for the directory source',
    'directory',
  ),
  statusDir: option(
    'status-dir',
    'text',
    undefined,
    'directory for STATUS files and for what survives a restart; for the directory source',
    'directory',
  ),
  kubeconfig: option(
    'kubeconfig',
    'text',
    '',
    'kubeconfig file of the cluster; empty: the service account of the pod',
  ),
  namespace: option(
    'namespace',
    'text',
    'pillion-system',
    "namespace of the operator: its Lease, its Secret and the replicas' reports",
  ),
  podName: option(
    'pod-name',
    'text',
    '',
    'name of this replica in the Lease and in events; empty: the host name',
  ),
  leaseName: option(
    'lease-name',
    'text',
    'pillion-operator',
    'Lease by which replicas elect the one that writes status',
  ),
  leaseDurationMs: option(
    'lease-duration',
    'ms',
    '15000',
    'how long a leader that is silent is believed',
  ),
  leaseRenewMs: option(
    'lease-renew-deadline',
    'ms',
    '10000',
    'how long a leader leads that cannot renew its Lease; less than --lease-duration',
  ),
  leaseRetryMs: option(
    'lease-retry',
    'ms',
    '2000',
    'how often the Lease is read, and renewed by the leader',
  ),
  watchIdleMs: option(
    'watch-idle',
    'ms',
    '180000',
    'how long a watch may say nothing, not even a bookmark, before it is opened again',
  ),
  syncWarnMs: option(
    'sync-warn',
    'ms',
    '30000',
    'how often the log names kinds that cannot be followed',
  ),
  listen: option(
    'listen',
    'text',
    undefined,
    'where agents and proxies subscribe: unix:PATH or host:port',
  ),
  tlsDir: option(
    'tls-dir',
    'text',
    '',
    'directory of the CA that the operator makes; empty: Secret pillion-operator-tls, and no TLS on a UNIX socket or loopback',
  ),
  tlsNames: option(
    'tls-names',
    'text',
    '',
    'names and addresses in the certificate beside pillion-operator.NAMESPACE.svc, comma separated',
  ),
  agentImage: option(
    'agent-image',
    'text',
    '',
    'image of the agent on nodes, unless the Mesh names one; empty: the operator installs nothing on nodes',
  ),
  proxyImage: option(
    'proxy-image',
    'text',
    '',
    'image of the L7 proxy on nodes, unless the Mesh names one',
  ),
  adminSocket: option(
    'admin-socket',
    'text',
    undefined,
    'UNIX socket of /healthz /readyz /metrics /debug',
  ),
  logLevel: option(
    'log-level',
    'text',
    'info',
    'fatal, error, warn, info, debug, trace or silent',
  ),
  debounceMs: option(
    'debounce',
    'ms',
    '5',
    'how long changes of objects are collected after the first',
  ),
  rescanMs: option(
    'rescan',
    'ms',
    '10000',
    'how often the directory is compared as a whole, for lost notifications',
  ),
  maxFileBytes: option(
    'max-file-bytes',
    'bytes',
    '16777216',
    'largest manifest file that is read',
  ),
  nackRetryMs: option(
    'nack-retry',
    'ms',
    '5000',
    'how long until a refused configuration is offered again',
  ),
  largeDeltas: option(
    'large-deltas',
    'count',
    '8',
    'how many deltas of more than 1000 resources are on their way to nodes at once; each is held in memory as a whole',
  ),
  statusDelayMs: option(
    'status-delay',
    'ms',
    '50',
    'how long changes of status are collected before they are written',
  ),
} as const satisfies Record<string, Option>

type Table = typeof optionTable
export type Options = {
  readonly [K in keyof Table]: Table[K]['kind'] extends 'text' ? string : number
}

/** Values from argv, then the environment, then the defaults. Throws an OperatorError `USAGE` that names the flag. */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options {
  const given = readArguments(argv)
  const values: Record<string, string | number> = {}
  const { flag, env: variable, default: fallback } = optionTable.source
  const source = given.get(flag) ?? env[variable] ?? fallback
  if (!sources.some((each) => each === source)) {
    const known = sources.join(' or ')
    throw new OperatorError('USAGE', `--source: "${source}" is not known; use ${known}`)
  }
  for (const [key, row] of Object.entries(optionTable)) {
    const raw = given.get(row.flag) ?? env[row.env] ?? row.default
    if (raw === undefined && row.source !== undefined && row.source !== source) {
      values[key] = ''
      continue
    }
    if (raw === undefined) {
      throw new OperatorError('USAGE', `--${row.flag} is missing: ${row.doc}`)
    }
    values[key] = convert(row, raw)
  }
  if (Number(values['leaseRenewMs']) >= Number(values['leaseDurationMs'])) {
    const message = '--lease-renew-deadline must be less than --lease-duration'
    throw new OperatorError('USAGE', `${message}: two replicas would lead`)
  }
  return values as unknown as Options
}

function readArguments(argv: readonly string[]): Map<string, string> {
  const flags = new Set<string>(Object.values(optionTable).map(({ flag }) => flag))
  const given = new Map<string, string>()
  for (let i = 0; i < argv.length; i++) {
    const [name = '', inline] = (argv[i] ?? '').split(/=(.*)/s, 2)
    const flag = name.startsWith('--') ? name.slice(2) : ''
    if (!flags.has(flag))
      throw new OperatorError('USAGE', `unknown argument "${argv[i]}"`)
    const value = inline ?? argv[++i]
    if (value === undefined) throw new OperatorError('USAGE', `${name} needs a value`)
    given.set(flag, value)
  }
  return given
}

function convert(row: Option, raw: string): string | number {
  if (row.kind === 'text') return raw
  if (!/^\d{1,15}$/.test(raw)) {
    throw new OperatorError(
      'USAGE',
      `--${row.flag}: "${raw}" is not a whole number (${row.kind})`,
    )
  }
  if (row.kind === 'count' && Number(raw) === 0)
    throw new OperatorError('USAGE', `--${row.flag}: at least 1 is needed`)
  return Number(raw)
}
