// SPDX-License-Identifier: Apache-2.0
// Answers EVENT_EXE: can this executable splice(2)? Then its sockets must not be accelerated (design 4.5). Unknown counts
// as able: acceleration is a gift, not a right.
import { open, readFile, readlink } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { ExeVerdict, type FlowEvent } from '@pillion/ebpf-l4'
import { inspectElf } from './elf.ts'
import { messageOf } from './errors.ts'
import { commOf } from './flows.ts'
import { openIn } from './rooted.ts'

/** A verdict and why. */
export interface Inspection {
  readonly verdict: ExeVerdict
  readonly path: string
  readonly reason: string
}

const maxRunning = 8
const maxRemembered = 4096 // as many as pl_executables holds
const maxLibraries = 64

/** Where executables and libraries are looked for when /proc/PID/exe may not be read. */
const searchPath = (process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin').split(':')
const libraryPath = [
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib/aarch64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
  '/usr/local/lib',
]
/** The C runtime: it offers splice to others and calls it for nobody. */
const runtime =
  /^(?:libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|ld-linux.*)\.so/

export class Executables {
  readonly #procDir: string
  readonly #tell: (inode: bigint, device: number, verdict: ExeVerdict) => void
  readonly #known = new Map<string, Inspection>()
  readonly #running = new Set<string>()

  /** `procDir`: the host's /proc; empty: everybody counts as able. `tell` puts the verdict into the kernel. */
  constructor(
    procDir: string,
    tell: (inode: bigint, device: number, verdict: ExeVerdict) => void,
  ) {
    this.#procDir = procDir
    this.#tell = tell
  }

  /** By "device:inode", for the debug endpoint. */
  get known(): ReadonlyMap<string, Inspection> {
    return this.#known
  }

  /** Inspects the executable of an EVENT_EXE once. Beyond the bound of parallel work the answer is "able". */
  async onEvent(event: FlowEvent): Promise<void> {
    const { exeInode, exeDevice } = event
    const key = `${exeDevice}:${exeInode}`
    if (this.#running.has(key)) return
    let found = this.#known.get(key)
    if (found === undefined && this.#running.size < maxRunning) {
      this.#running.add(key)
      found = await inspectExecutable(event, this.#procDir)
      this.#running.delete(key)
      if (this.#known.size >= maxRemembered) this.#known.clear()
      this.#known.set(key, found)
    }
    this.#tell(exeInode, exeDevice, found?.verdict ?? ExeVerdict.EXE_UNFIT)
  }
}

/** Never throws: what cannot be read counts as able. */
export async function inspectExecutable(
  event: Pick<FlowEvent, 'pid' | 'exeInode' | 'exeDevice' | 'comm'>,
  procDir: string,
): Promise<Inspection> {
  let problem = `no file with inode ${event.exeInode} found`
  if (procDir === '') {
    const reason = 'executables are not looked at: --proc-dir is empty'
    return { verdict: ExeVerdict.EXE_UNFIT, path: '', reason }
  }
  for (const { path, root, ownView } of await candidates(event, procDir)) {
    try {
      const file = await open(path)
      try {
        const { ino, dev } = await file.stat({ bigint: true })
        // In our own view of the file system an inode number alone may be another file's.
        if (
          ino !== event.exeInode ||
          (ownView && kernelDevice(dev) !== event.exeDevice)
        ) {
          continue
        }
      } finally {
        await file.close()
      }
      return { path, ...(await inspectTree(path, root)) }
    } catch (error) {
      problem = messageOf(error)
    }
  }
  return { verdict: ExeVerdict.EXE_UNFIT, path: '', reason: problem }
}

interface Candidate {
  readonly path: string
  /** Prefix of the process's file system. */
  readonly root: string
  /** Found by name in our file system: to be proved by inode and device. */
  readonly ownView: boolean
}

/**
 * /proc/PID/exe needs the right to trace the process (features.ts), which an agent may lack. Its command line is open to
 * everyone: a name that inode and device then prove to be the very file.
 */
async function candidates(
  { pid, comm }: Pick<FlowEvent, 'pid' | 'comm'>,
  procDir: string,
): Promise<Candidate[]> {
  const dir = join(procDir, String(pid))
  const exe = { path: join(dir, 'exe'), root: join(dir, 'root'), ownView: false }
  const commandLine = await readFile(join(dir, 'cmdline'), 'latin1').catch(() => '')
  const [first = ''] = commandLine.split('\0')
  const names = new Set([basename(first), commOf({ comm })].filter(Boolean))
  const paths = new Set([
    ...(isAbsolute(first) ? [first] : []),
    ...[...names].flatMap((name) => searchPath.map((dir) => join(dir, name))),
    process.execPath,
  ])
  return [exe, ...[...paths].map((path) => ({ path, root: '', ownView: true }))]
}

/** Kernel's encoding of a device number (linux/kdev_t.h) from stat's (glibc sys/sysmacros.h). */
export function kernelDevice(dev: bigint): number {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xffff_f000n)
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n)
  return Number(((major << 20n) | minor) & 0xffff_ffffn)
}

/** The executable and the libraries it is linked with: Python splices in libpython, not in python. */
async function inspectTree(
  path: string,
  root: string,
): Promise<Omit<Inspection, 'path'>> {
  const seen = new Set<string>()
  // `path` as the process itself names it: what $ORIGIN is relative to.
  const own = root === '' ? path : await readlink(path)
  const queue = [own]
  let polls = false
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const file = next === own ? await open(path) : await openIn(root, next)
    try {
      const found = await inspectElf(file)
      const { splices, reason, needed, runPath } = found
      polls ||= found.polls
      const what = next === own ? reason : `${basename(next)}: ${reason}`
      if (splices) return { verdict: ExeVerdict.EXE_UNFIT, reason: what }
      for (const name of needed) {
        if (runtime.test(name) || seen.has(name)) continue
        seen.add(name)
        const library = await findLibrary(name, root, runPath, dirname(next))
        if (library === undefined || seen.size > maxLibraries) {
          return { verdict: ExeVerdict.EXE_UNFIT, reason: `${name} cannot be found` }
        }
        queue.push(library)
      }
    } finally {
      await file.close()
    }
  }
  if (!polls) {
    const reason = 'neither it nor its libraries import epoll_wait: it may block in recv'
    return { verdict: ExeVerdict.EXE_UNFIT, reason }
  }
  const reason = 'neither it nor its libraries import splice, and it waits in epoll'
  return { verdict: ExeVerdict.EXE_PLAIN, reason }
}

/** Path of a library as the process names it. */
async function findLibrary(
  name: string,
  root: string,
  runPath: string,
  origin: string,
): Promise<string | undefined> {
  const own = runPath
    .split(':')
    .filter(Boolean)
    .map((dir) => dir.replace(/\$(?:ORIGIN|\{ORIGIN\})/, origin))
  for (const dir of [...own, ...libraryPath]) {
    try {
      await (await openIn(root, join(dir, name))).close()
      return join(dir, name)
    } catch {
      // Not here.
    }
  }
  return undefined
}
