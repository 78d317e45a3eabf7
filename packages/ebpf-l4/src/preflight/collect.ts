// SPDX-License-Identifier: Apache-2.0
// Asks a node for the facts. Attaches and pins nothing: a datapath that runs does not notice.
import {
  accessSync,
  constants,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { attachments, type Attachment } from '../attach.ts'
import { cgroup2Mount } from '../cgroup.ts'
import { lackingHelpers, tryPrograms, type ProgramTrial } from '../load.ts'
import { native } from '../native.ts'
import { bpfFsMagic } from '../pins.ts'
import type { Facts, Hook, HookProgram, PreflightOptions, Sharing } from './facts.ts'

const queryEffective = 1 // BPF_F_QUERY_EFFECTIVE

/** Never throws: what cannot be asked is a fact, too. Blocks for about a second while the verifier works. */
export function collectFacts(options: PreflightOptions): Facts {
  const cgroupMount = orUndefined(() => cgroup2Mount())
  const cgroupRoot = options.cgroupRoot === '' ? (cgroupMount ?? '') : options.cgroupRoot
  const below =
    cgroupMount !== undefined && `${cgroupRoot}/`.startsWith(`${cgroupMount}/`)
  const cgroupRootExists = below && isDirectory(cgroupRoot)
  return {
    kernel: release(),
    ...(cgroupMount === undefined ? {} : { cgroupMount }),
    cgroupRoot,
    cgroupRootExists,
    btf: isReadable('/sys/kernel/btf/vmlinux'),
    bpffs: bpffs(options.pinDir),
    capabilities: capabilities(readFileSync('/proc/self/status', 'utf8')),
    ...memlock(readFileSync('/proc/self/limits', 'utf8')),
    ...numberAt('unprivilegedBpfDisabled', '/proc/sys/kernel/unprivileged_bpf_disabled'),
    ...numberAt('jit', '/proc/sys/net/core/bpf_jit_enable'),
    ...tried(options, cgroupRootExists ? cgroupRoot : cgroupMount),
    lackingHelpers: orUndefined(lackingHelpers) ?? [],
    hooks: cgroupRootExists ? hooks(options.pinDir, cgroupRoot, cgroupMount) : [],
  }
}

/** The effective set, of the text of /proc/PID/status. */
export function capabilities(status: string): bigint {
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
}

/** The soft limit, of the text of /proc/PID/limits. */
export function memlock(limits: string): Pick<Facts, 'memlockBytes'> {
  const soft = /^Max locked memory\s+(\d+)/m.exec(limits)?.[1]
  return soft === undefined ? {} : { memlockBytes: Number(soft) }
}

function tried(
  { objectDir }: PreflightOptions,
  cgroupRoot: string | undefined,
): { programs: ProgramTrial[]; programsError?: string } {
  if (cgroupRoot === undefined) return { programs: [], programsError: 'no cgroup v2' }
  try {
    return { programs: tryPrograms({ objectDir, cgroupRoot }) }
  } catch (error) {
    return { programs: [], programsError: (error as Error).message }
  }
}

function bpffs(pinDir: string): Facts['bpffs'] {
  let path = pinDir
  while (statSync(path, { throwIfNoEntry: false }) === undefined) path = dirname(path)
  return { path, mounted: statfsSync(path).type === bpfFsMagic }
}

function hooks(pinDir: string, cgroupRoot: string, mount: string): Hook[] {
  const ours = ourPrograms(pinDir)
  const upwards = [cgroupRoot]
  for (let path = cgroupRoot; path !== mount;) upwards.push((path = dirname(path)))
  return attachments
    .filter(({ target }) => target === 'node')
    .map((attachment) => hookOf(attachment, upwards, ours))
}

function hookOf(
  { program, type }: Attachment,
  upwards: readonly string[],
  ours: ReadonlySet<number>,
): Hook {
  const cgroup = upwards[0] ?? ''
  try {
    const on = upwards
      .map((path) => ({ path, ...query(path, type, 0) }))
      .filter(({ ids }) => ids.length > 0)
    const programs = query(cgroup, type, queryEffective).ids.map((id) => ({
      ...{
        id,
        ours: ours.has(id),
        cgroup: on.find(({ ids }) => ids.includes(id))?.path ?? '',
      },
      ...nameOf(id),
    }))
    const sharing = on.map(({ path, attachFlags }) => ({
      cgroup: path,
      mode: sharingOf(attachFlags),
    }))
    return { program, cgroup, programs, sharing }
  } catch (error) {
    return { program, cgroup, programs: [], sharing: [], error: (error as Error).message }
  }
}

/** BPF_F_ALLOW_OVERRIDE is 1, BPF_F_ALLOW_MULTI is 2. */
function sharingOf(attachFlags: number): Sharing {
  if ((attachFlags & 2) !== 0) return 'multi'
  return (attachFlags & 1) !== 0 ? 'override' : 'exclusive'
}

function query(
  cgroup: string,
  type: number,
  flags: number,
): ReturnType<typeof native.progQuery> {
  const directory = native.openDirectory(cgroup)
  try {
    return native.progQuery(directory, type, flags)
  } finally {
    native.closeFd(directory)
  }
}

/** Without CAP_SYS_ADMIN the kernel does not tell. */
function nameOf(id: number): Pick<HookProgram, 'name'> {
  const fd = orUndefined(() => native.progById(id))
  if (fd === undefined || fd < 0) return {}
  try {
    return { name: native.progInfo(fd).name }
  } finally {
    native.closeFd(fd)
  }
}

/** Ids of the programs behind the links that an agent pinned. */
function ourPrograms(pinDir: string): Set<number> {
  const directory = join(pinDir, 'links')
  const names = orUndefined(() => readdirSync(directory)) ?? []
  return new Set(
    names.flatMap((name) => orUndefined(() => programOf(join(directory, name))) ?? []),
  )
}

function programOf(path: string): number | undefined {
  const fd = native.getPinned(path)
  if (fd < 0) return undefined
  try {
    return native.linkInfo(fd).programId
  } finally {
    native.closeFd(fd)
  }
}

function numberAt<K extends string>(key: K, path: string): Partial<Record<K, number>> {
  const text = orUndefined(() => readFileSync(path, 'utf8').trim())
  return (text === undefined ? {} : { [key]: Number(text) }) as Partial<Record<K, number>>
}

function isReadable(path: string): boolean {
  return orUndefined(() => accessSync(path, constants.R_OK) ?? true) ?? false
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function orUndefined<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}
