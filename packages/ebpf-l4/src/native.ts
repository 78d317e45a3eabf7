// SPDX-License-Identifier: Apache-2.0
// Typed view of the addon (native/*.c); the only importer of the .node file.
import { createRequire } from 'node:module'
import { join } from 'node:path'

declare const handle: unique symbol
/** An open ELF object or ring buffer; freed with its last reference or by its close function. */
export type Handle<Kind extends string> = { readonly [handle]: Kind }

/** Every function throws an Error with `errno`, `operation` and, from libbpf, `log`. Descriptors are plain numbers. */
export interface Native {
  /** Without a pin directory ('') the maps are private. */
  objectOpen(path: string, pinDirectory: string): Handle<'object'>
  objectSetVariable(object: Handle<'object'>, name: string, value: Buffer): boolean
  objectPrograms(object: Handle<'object'>): string[]
  objectOmit(object: Handle<'object'>, program: string): void
  /** By its name without bpf_. */
  hasHelper(name: string): boolean
  objectLoad(object: Handle<'object'>): void
  objectProgramFd(object: Handle<'object'>, name: string): number
  objectClose(object: Handle<'object'>): void
  linkCreate(programFd: number, targetFd: number, attachType: number): number
  linkUpdate(linkFd: number, programFd: number): void
  linkInfo(linkFd: number): LinkInfo
  progAttach(programFd: number, mapFd: number, attachType: number): void
  progQuery(targetFd: number, attachType: number, flags: number): ProgramQuery
  progById(id: number): number
  progInfo(programFd: number): ProgramInfo
  pin(fd: number, path: string): void
  getPinned(path: string): number
  closeFd(fd: number): void
  openDirectory(path: string): number
  /** An exclusive flock(2), kept while the descriptor is open; false: somebody else has it. */
  lockFile(fd: number): boolean
  enableStats(): number
  mapInfo(fd: number): NativeMapInfo
  mapLookup(fd: number, key: Buffer, value: Buffer): boolean
  mapUpdate(fd: number, keys: Buffer, values: Buffer): number
  mapDelete(fd: number, keys: Buffer): number
  mapHolds(fd: number): boolean
  mapDump(fd: number): Buffer
  ringbufOpen(mapFd: number, recordSize: number): Handle<'ring'>
  ringbufConsume(ring: Handle<'ring'>, into: Buffer): number
  ringbufClose(ring: Handle<'ring'>): void
}

/** struct bpf_link_info of a cgroup link; zero cgroupId: the link's cgroup is gone. */
export interface LinkInfo {
  readonly id: number
  readonly programId: number
  readonly cgroupId: number
  readonly attachType: number
}

/** Programs of a hook. No flags but programs: their owner attached them as the only ones, there and below. */
export interface ProgramQuery {
  readonly attachFlags: number
  readonly ids: readonly number[]
}

/** struct bpf_prog_info; run time only while statistics are on. */
export interface ProgramInfo {
  readonly id: number
  /** enum bpf_prog_type. */
  readonly type: number
  readonly name: string
  readonly tag: string
  readonly runTimeNs: number
  readonly runCount: number
}

/** struct bpf_map_info; valueSize is the size of a lookup: for per-CPU maps all CPUs together. */
export interface NativeMapInfo {
  readonly id: number
  readonly name: string
  readonly type: number
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
}

export const native = createRequire(import.meta.url)(
  join(import.meta.dirname, '../.build/bpf.node'),
) as Native
