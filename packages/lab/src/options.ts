// SPDX-License-Identifier: Apache-2.0
// Options of the supervisor process (people use `pillion lab up`, which passes them on).
import { resolve } from 'node:path'
import { LabError } from './errors.ts'
import { maxNodes } from './net/addresses.ts'

interface Option {
  readonly flag: string
  readonly default: string | undefined
  readonly unit?: string
  readonly doc: string
}

export const optionTable = {
  dir: {
    flag: '--dir',
    default: undefined,
    doc: 'directory of manifests; with --kubeconfig only what LAB_DIR says to pods (the working directory)',
  },
  kubeconfig: {
    flag: '--kubeconfig',
    default: '',
    doc: 'take objects from this API server instead, and be its kubelet and EndpointSlice controller',
  },
  nodes: {
    flag: '--nodes',
    default: '2',
    unit: 'nodes',
    doc: 'how many nodes the lab has',
  },
  mesh: {
    flag: '--mesh',
    default: 'on',
    doc: 'on, or off for the same pods without any mesh',
  },
  filters: {
    flag: '--filters',
    default: '',
    doc: 'directory of filters for the proxies, as the ConfigMap of a Mesh holds them',
  },
  filterSecrets: {
    flag: '--filter-secrets',
    default: '',
    doc: 'directory of what filters may read as secrets; readable for everybody',
  },
  timeoutSeconds: {
    flag: '--timeout',
    default: '60',
    unit: 'seconds',
    doc: 'how long pods and configuration may take',
  },
} as const satisfies Record<string, Option>

export interface SupervisorOptions {
  readonly dir: string
  /** File of the API server that has the objects; undefined: the directory has them. */
  readonly kubeconfig?: string
  readonly nodes: number
  readonly mesh: boolean
  readonly timeoutMs: number
  /** Directories that the proxies see. */
  readonly filters?: string
  readonly filterSecrets?: string
}

/** Options from flags. Throws a LabError `usage` that names the flag. */
export function parseOptions(argv: readonly string[]): SupervisorOptions {
  const values = new Map<string, string>()
  for (const [name, option] of Object.entries(optionTable)) {
    if (option.default !== undefined) values.set(name, option.default)
  }
  for (let i = 0; i < argv.length; i += 2) {
    const flag = argv[i] ?? ''
    const found = Object.entries(optionTable).find(([, option]) => option.flag === flag)
    if (found === undefined) throw new LabError('usage', `unknown option ${flag}`)
    const value = argv[i + 1]
    if (value === undefined) throw new LabError('usage', `${flag} needs a value`)
    values.set(found[0], value)
  }
  const kubeconfig = values.get('kubeconfig') ?? ''
  const dir = values.get('dir') ?? (kubeconfig === '' ? undefined : '.')
  if (dir === undefined) {
    const wanted = 'name a DIR of manifests, or --kubeconfig FILE'
    throw new LabError('usage', `a lab needs objects: ${wanted}`)
  }
  const mesh = values.get('mesh') ?? ''
  if (mesh !== 'on' && mesh !== 'off') throw new LabError('usage', '--mesh is on or off')
  return {
    dir: resolve(dir),
    ...(kubeconfig !== '' && { kubeconfig: resolve(kubeconfig) }),
    ...directories(values),
    nodes: integer('--nodes', values.get('nodes') ?? '', maxNodes),
    mesh: mesh === 'on',
    timeoutMs: integer('--timeout', values.get('timeoutSeconds') ?? '', 3600) * 1000,
  }
}

/** Of `filters` and `filterSecrets`, those that are named. */
function directories(
  values: ReadonlyMap<string, string>,
): Pick<SupervisorOptions, 'filters' | 'filterSecrets'> {
  const named = (['filters', 'filterSecrets'] as const).filter((name) => values.get(name))
  return Object.fromEntries(named.map((name) => [name, resolve(values.get(name) ?? '')]))
}

function integer(flag: string, text: string, max: number): number {
  const value = Number(text.replace(/s$/, ''))
  if (Number.isInteger(value) && value >= 1 && value <= max) return value
  throw new LabError('usage', `${flag} ${text}: must be a whole number from 1 to ${max}`)
}
