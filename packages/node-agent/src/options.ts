// SPDX-License-Identifier: Apache-2.0
// Every option of the agent, in one table; parsing is a loop over it.
import { join } from 'node:path'
import { isMappedIPv4, parseAddress } from '@pillion/contract'
import type { TelemetryLevel } from '@pillion/ebpf-l4'
import { AgentError } from './errors.ts'

type Kind = 'text' | 'count' | 'ms' | 'port'

const telemetryLevels = ['all', 'sums', 'off'] as const satisfies TelemetryLevel[]

type Option<T> = {
  readonly flag: string
  readonly env: string
  readonly kind: Kind
  /** undefined: required. */
  readonly default: T | undefined
  readonly doc: string
}

const defaultObjectDir = join(import.meta.dirname, '../../../bpf/.output')

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
  cgroupRoot: text(
    'cgroup-root',
    undefined,
    'cgroup v2 directory of all pods and processes of the node',
  ),
  proxyCgroup: text(
    'proxy-cgroup',
    '',
    'cgroup v2 directory of the L7 proxy; made when missing',
  ),
  proxyPodUid: text(
    'proxy-pod-uid',
    '',
    "uid of the proxy's pod, whose cgroup is then looked up; instead of --proxy-cgroup",
  ),
  procDir: text(
    'proc-dir',
    '/proc',
    "the host's proc file system, in which acceleration Auto looks at executables; empty: it does not look",
  ),
  pinDir: text('pin-dir', undefined, "this node's directory on a bpf file system"),
  stateDir: text('state-dir', undefined, 'where the last good configuration is kept'),
  adminSocket: text(
    'admin-socket',
    undefined,
    'UNIX socket of the debug endpoint (mode 0600)',
  ),
  debugPort: number(
    'debug-port',
    'port',
    15_099,
    'the same endpoint on 127.0.0.1; 0: not served',
  ),
  metricsPort: number(
    'metrics-port',
    'port',
    0,
    '/metrics alone, on all addresses of the node; 0: not served',
  ),
  proxyAddress: text(
    'proxy-address',
    '',
    'where the L7 proxy listens, IPv4 and IPv6, comma separated',
  ),
  proxyPort: number('proxy-port', 'port', 15_001, 'port of the L7 proxy'),
  proxyAdminSocket: text(
    'proxy-admin-socket',
    '',
    "the proxy's admin socket, for its metrics",
  ),
  objectDir: text('object-dir', '', 'compiled BPF programs; empty: of this checkout'),
  deadmanMs: number(
    'deadman',
    'ms',
    400,
    'a proxy that was silent for this long is dead (design 4.7)',
  ),
  eventPollMs: number('event-poll', 'ms', 50, 'how often flow events are read'),
  rescanMs: number(
    'rescan',
    'ms',
    5_000,
    'how often cgroups and attached programs are looked at',
  ),
  saveDelayMs: number(
    'save-delay',
    'ms',
    1_000,
    'configuration is saved this long after a change',
  ),
  telemetry: text(
    'telemetry',
    'all',
    'what is told of connections that nobody refuses: all, sums (by identities, no events), off; denials always are',
  ),
  flows: number('flows', 'count', 4_096, 'flow events kept for /debug/flows'),
  logLevel: text('log-level', 'info', 'fatal, error, warn, info, debug, trace or silent'),
} as const

type Table = typeof table
type Value<O> = O extends Option<infer T> ? T : never
type Raw = { readonly [K in keyof Table]: Value<Table[K]> }

export interface Options extends Omit<Raw, 'proxyAddress' | 'telemetry'> {
  readonly telemetry: TelemetryLevel
  /** 16 bytes each; undefined: no proxy for this family. */
  readonly proxy4: Buffer | undefined
  readonly proxy6: Buffer | undefined
}

/** The rows, for documentation. */
export const optionTable: readonly Option<string | number>[] = Object.values(table)

/** Values from argv, then the environment, then the defaults. Throws AgentError OPTION that names the flag. */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options {
  const values = readValues(argv, env, () => true)
  const { proxyAddress, objectDir, telemetry, ...raw } = values
  if ((raw.proxyCgroup === '') === (raw.proxyPodUid === '')) {
    const message = 'one of --proxy-cgroup and --proxy-pod-uid is needed, not both'
    throw new AgentError('OPTION', message)
  }
  return {
    ...raw,
    telemetry: telemetryLevel(telemetry),
    objectDir: objectDir === '' ? defaultObjectDir : objectDir,
    ...proxyAddresses(proxyAddress),
  }
}

function telemetryLevel(text: string): TelemetryLevel {
  const level = telemetryLevels.find((each) => each === text)
  if (level !== undefined) return level
  const known = telemetryLevels.join(', ')
  throw new AgentError('OPTION', `--telemetry: "${text}" is none of ${known}`)
}

const uninstallKeys = ['pinDir', 'cgroupRoot', 'stateDir'] as const

/**
 * The same of `--uninstall`, which takes the agent's own command line and needs only where things are. Undefined: it is not
 * that mode.
 */
export function parseUninstall(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Pick<Options, (typeof uninstallKeys)[number]> | undefined {
  if (!argv.includes('--uninstall')) return undefined
  const rest = argv.filter((argument) => argument !== '--uninstall')
  return readValues(rest, env, (key) => uninstallKeys.some((each) => each === key))
}

const preflightKeys = ['objectDir', 'pinDir', 'cgroupRoot'] as const

/**
 * The same of `--preflight` and `--preflight=json`: also on a node that has nothing yet, so nothing is needed. Undefined: it is not
 * that mode.
 */
export function parsePreflight(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
):
  | (Pick<Options, (typeof preflightKeys)[number]> & { readonly json: boolean })
  | undefined {
  const modes = argv.filter((each) => /^--preflight(=json)?$/.test(each))
  if (modes.length === 0) return undefined
  const rest = argv.filter((each) => !modes.includes(each))
  const { objectDir, pinDir, cgroupRoot } = readValues(rest, env, () => false)
  return {
    objectDir: objectDir === '' ? defaultObjectDir : objectDir,
    pinDir: pinDir === '' ? '/sys/fs/bpf/pillion' : pinDir,
    cgroupRoot,
    json: modes.includes('--preflight=json'),
  }
}

/** Of options that are not needed, the missing ones are empty. */
function readValues(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  isNeeded: (key: string) => boolean,
): Raw {
  const given = readArguments(argv)
  const values: Record<string, string | number> = {}
  for (const [key, option] of Object.entries(table) as [
    string,
    Option<string | number>,
  ][]) {
    const raw = given.get(option.flag) ?? env[option.env]
    if (raw === undefined && option.default === undefined && isNeeded(key)) {
      throw new AgentError('OPTION', `--${option.flag} is missing: ${option.doc}`)
    }
    values[key] = raw === undefined ? (option.default ?? '') : convert(option, raw)
  }
  return values as unknown as Raw
}

function readArguments(argv: readonly string[]): Map<string, string> {
  const known = new Set(optionTable.map(({ flag }) => flag))
  const given = new Map<string, string>()
  for (let i = 0; i < argv.length; i++) {
    const [name = '', inline] = (argv[i] ?? '').split(/=(.*)/s, 2)
    if (!name.startsWith('--') || !known.has(name.slice(2))) {
      throw new AgentError('OPTION', `unknown argument "${argv[i] ?? ''}"`)
    }
    const value = inline ?? argv[++i]
    if (value === undefined) throw new AgentError('OPTION', `${name} needs a value`)
    given.set(name.slice(2), value)
  }
  return given
}

function convert({ flag, kind }: Option<unknown>, raw: string): string | number {
  if (kind === 'text') return raw
  const value = /^\d{1,12}$/.test(raw) ? Number(raw) : Number.NaN
  if (!Number.isSafeInteger(value) || (kind === 'port' && value > 65_535)) {
    const wanted = kind === 'port' ? 'a port' : 'a whole number'
    throw new AgentError('OPTION', `--${flag}: "${raw}" is not ${wanted}`)
  }
  return value
}

function proxyAddresses(raw: string): Pick<Options, 'proxy4' | 'proxy6'> {
  try {
    const addresses = raw.split(',').filter(Boolean).map(parseAddress)
    return {
      proxy4: addresses.find(isMappedIPv4),
      proxy6: addresses.find((address) => !isMappedIPv4(address)),
    }
  } catch (cause) {
    throw new AgentError('OPTION', `--proxy-address: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function text<T extends string | undefined>(
  flag: string,
  fallback: T,
  doc: string,
): Option<string> {
  return { flag, env: envName(flag), kind: 'text', default: fallback, doc }
}

function number(flag: string, kind: Kind, fallback: number, doc: string): Option<number> {
  return { flag, env: envName(flag), kind, default: fallback, doc }
}

function envName(flag: string): string {
  return `PILLION_AGENT_${flag.toUpperCase().replaceAll('-', '_')}`
}
