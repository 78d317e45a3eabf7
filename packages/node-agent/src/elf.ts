// SPDX-License-Identifier: Apache-2.0
// As much of an ELF file as tells whether its code can call splice(2). Every offset and length comes from an untrusted
// file: reads are bounded, and what does not parse counts as able to.
import type { FileHandle } from 'node:fs/promises'

/** What was found. `reason` is for people. */
export interface ElfFindings {
  readonly splices: boolean
  /** Imports epoll_wait: it has an event loop. */
  readonly polls: boolean
  readonly reason: string
  /** Shared libraries that it is linked with (DT_NEEDED). */
  readonly needed: readonly string[]
  /** DT_RUNPATH or DT_RPATH, as written. */
  readonly runPath: string
}

const maxTableBytes = 16 * 1024 * 1024
const maxSections = 1024
const sectionHeaderBytes = 64
const symbolBytes = 24
const dynamicBytes = 16

const SectionType = { dynsym: 11, dynamic: 6 } as const
const DynamicTag = { end: 0n, needed: 1n, rpath: 15n, runPath: 29n } as const

/** splice(2), and what libc may export beside it. */
const spliceSymbols: ReadonlySet<string> = new Set(['splice', 'splice64'])

/** Whoever waits here does not wait in recv(2), where an accelerated socket would wake it for nothing (decision 0018). */
const pollSymbols: ReadonlySet<string> = new Set([
  'epoll_wait',
  'epoll_pwait',
  'epoll_pwait2',
])

interface Section {
  readonly name: string
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

/** Reads an open ELF file. Throws only what reading throws; a file that is no ELF64 for this machine counts as able. */
export async function inspectElf(file: FileHandle): Promise<ElfFindings> {
  const head = await read(file, 0, 64)
  if (head?.subarray(0, 4).toString('latin1') !== '\x7fELF' || head[4] !== 2) {
    return able('no 64-bit ELF file')
  }
  if (head[5] !== 1) return able('not little-endian')
  const sections = await readSections(file, head)
  if (sections === undefined) return able('its sections cannot be read')
  // Go's io.Copy splices between TCP connections, by a system call of its own: imports do not show it.
  if (
    sections.some(({ name }) => name === '.go.buildinfo' || name === '.note.go.buildid')
  ) {
    return able('built with Go')
  }
  const dynsym = sections.find(({ type }) => type === SectionType.dynsym)
  const dynstr = dynsym && sections[dynsym.link]
  const symbols = dynsym && (await read(file, dynsym.offset, dynsym.size))
  const strings = dynstr && (await read(file, dynstr.offset, dynstr.size))
  if (symbols === undefined || strings === undefined || symbols.length === 0) {
    return able('statically linked: its imports cannot be seen')
  }
  const dynamic = sections.find(({ type }) => type === SectionType.dynamic)
  const table = dynamic && (await read(file, dynamic.offset, dynamic.size))
  const linked = readDynamic(table ?? Buffer.alloc(0), strings)
  const imported = imports(spliceSymbols, symbols, strings)
  return {
    splices: imported,
    polls: imports(pollSymbols, symbols, strings),
    reason: imported ? 'imports splice' : 'does not import splice',
    ...linked,
  }
}

function able(reason: string): ElfFindings {
  return { splices: true, polls: false, reason, needed: [], runPath: '' }
}

async function readSections(
  file: FileHandle,
  head: Buffer,
): Promise<Section[] | undefined> {
  const offset = Number(head.readBigUInt64LE(0x28))
  const count = head.readUInt16LE(0x3c)
  if (offset === 0 || count === 0 || count > maxSections) return undefined
  if (head.readUInt16LE(0x3a) !== sectionHeaderBytes) return undefined
  const headers = await read(file, offset, count * sectionHeaderBytes)
  if (headers === undefined) return undefined
  const raw = Array.from({ length: count }, (_, i) => {
    const at = i * sectionHeaderBytes
    return {
      nameAt: headers.readUInt32LE(at),
      type: headers.readUInt32LE(at + 4),
      offset: Number(headers.readBigUInt64LE(at + 24)),
      size: Number(headers.readBigUInt64LE(at + 32)),
      link: headers.readUInt32LE(at + 40),
    }
  })
  const namesSection = raw[head.readUInt16LE(0x3e)]
  if (namesSection === undefined) return undefined
  const names = await read(file, namesSection.offset, namesSection.size)
  if (names === undefined) return undefined
  return raw.map((section) => ({ ...section, name: textAt(names, section.nameAt) }))
}

function imports(names: ReadonlySet<string>, symbols: Buffer, strings: Buffer): boolean {
  for (let at = 0; at + symbolBytes <= symbols.length; at += symbolBytes) {
    const isUndefined = symbols.readUInt16LE(at + 6) === 0
    if (isUndefined && names.has(textAt(strings, symbols.readUInt32LE(at)))) {
      return true
    }
  }
  return false
}

function readDynamic(
  table: Buffer,
  strings: Buffer,
): Pick<ElfFindings, 'needed' | 'runPath'> {
  const needed: string[] = []
  let runPath = ''
  for (let at = 0; at + dynamicBytes <= table.length; at += dynamicBytes) {
    const tag = table.readBigUInt64LE(at)
    if (tag === DynamicTag.end) break
    const text = textAt(strings, Number(table.readBigUInt64LE(at + 8)))
    if (tag === DynamicTag.needed) needed.push(text)
    if (tag === DynamicTag.runPath || tag === DynamicTag.rpath) runPath = text
  }
  return { needed, runPath }
}

function textAt(strings: Buffer, at: number): string {
  if (at >= strings.length) return ''
  const end = strings.indexOf(0, at)
  return strings.toString('latin1', at, end < 0 ? strings.length : end)
}

/** Exactly `length` bytes; undefined when the file has fewer or the length is beyond the bound. */
async function read(
  file: FileHandle,
  offset: number,
  length: number,
): Promise<Buffer | undefined> {
  if (length > maxTableBytes || !Number.isSafeInteger(offset)) return undefined
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, offset)
  return bytesRead === length ? buffer : undefined
}
