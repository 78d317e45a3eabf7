// SPDX-License-Identifier: Apache-2.0
// The facade: open, apply, look inside, close. Traffic goes on when this object is gone.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { attachments, objects } from './attach.ts'
import type { Attachment } from './attach.ts'
import { cgroupId, cgroupLevel } from './cgroup.ts'
import { changesPolicy, diff } from './diff.ts'
import type { Batch } from './diff.ts'
import { BpfError } from './errors.ts'
import { EventRecords } from './events.ts'
import {
  AccelMode,
  Counter,
  exeKeyLayout,
  exeLayout,
  ExeVerdict,
  flowEventLayout,
  mapNames,
  ownerLayout,
  proxyLayout,
  settingsLayout,
} from './gen/layout.ts'
import type { Settings } from './gen/layout.ts'
import { decode, KernelMap } from './kernel-map.ts'
import type { KeyedMap, KeyOf, MapInfo, ValueOf } from './kernel-map.ts'
import { native } from './native.ts'
import type { Handle, ProgramInfo } from './native.ts'
import { openPins, processStartTime } from './pins.ts'
import type { Pins } from './pins.ts'
import { configuredMaps } from './tables.ts'
import type { Tables } from './tables.ts'

export interface DatapathOptions {
  /** Directory of the compiled programs, bpf/.output. */
  readonly objectDir: string
  /** On a bpf file system; this node's own. */
  readonly pinDir: string
  /** cgroup v2 directory of all pods and processes of the node. */
  readonly cgroupRoot: string
  /** cgroup v2 directory of the proxy: only there do the socket options exist. */
  readonly proxyCgroup: string
  /** A proxy that was silent for this long is dead. Default 400. */
  readonly deadmanMs?: number
}

export interface ApplyReport {
  readonly writes: number
  readonly deletes: number
  readonly durationMs: number
}

/** Where the proxy listens, and when connections are accelerated. */
export interface DatapathSettings {
  readonly acceleration: 'off' | 'on' | 'auto'
  /** 16 bytes; absent: no proxy for this family. */
  readonly proxy4?: Uint8Array | undefined
  readonly proxy6?: Uint8Array | undefined
  readonly proxyPort: number
}

const accelModes = {
  off: AccelMode.ACCEL_OFF,
  on: AccelMode.ACCEL_ON,
  auto: AccelMode.ACCEL_AUTO,
} as const

const zeroKey = Buffer.alloc(4)
const noAddress = new Uint8Array(16)

/**
 * The datapath of one node. Programs are attached with the first `apply`: until then the kernel keeps what an earlier
 * agent left, with its maps filled; there is no instant with programs and empty maps.
 */
export class Datapath {
  readonly adopted: boolean
  readonly #options: DatapathOptions
  readonly #pins: Pins
  readonly #objects: ReadonlyMap<string, Handle<'object'>>
  readonly #maps: ReadonlyMap<string, KernelMap>
  readonly #ring: Handle<'ring'>
  /** What we know to be in the maps; undefined after a failed write: the next apply reads them. */
  #have: Tables | undefined
  #settings: Settings
  #attached = false
  /** Kept: the agent polls many times a second, and mostly finds nothing. */
  #eventBuffer = Buffer.alloc(0)
  /** Some policy exists: packets are judged, too. */
  #guarded = false

  private constructor(options: DatapathOptions) {
    this.#options = options
    this.#pins = openPins(options.pinDir)
    this.adopted = readdirSync(this.#pins.maps).length > 0
    this.#objects = loadObjects(options, this.#pins)
    this.#maps = new Map(
      mapNames.map((name) => [name, new KernelMap(name, join(this.#pins.maps, name))]),
    )
    this.#claim()
    this.#settings = settingsLayout.read(
      this.#map('pl_settings').get(zeroKey) ?? Buffer.alloc(settingsLayout.size),
    )
    this.#ring = native.ringbufOpen(this.#map('pl_events').fd, flowEventLayout.size)
    this.#askAgainForExecutables()
  }

  /** Loads the programs and adopts pinned maps. Throws BpfError; the kernel is then as it was. */
  static open(options: DatapathOptions): Promise<Datapath> {
    return Promise.resolve().then(() => new Datapath(options))
  }

  /** Writes the difference between what the maps hold and `want`; attaches the programs the first time. */
  apply(want: Tables): ApplyReport {
    const started = performance.now()
    // Whoever wrote last may have ended between the rules and their generation.
    const unknown = this.#have === undefined
    const have = this.#have ?? this.tables()
    const batches = diff(have, want)
    // Before the first policy is written, after the last one is gone: no packet escapes in between.
    if (want.pl_subjects.size > 0) this.#guard()
    this.#have = undefined // not known until all is written
    try {
      this.#write(batches)
    } catch (error) {
      this.#write(diff(this.tables(), have)) // room again, and nothing stays in force by half
      throw error
    }
    if (unknown || changesPolicy(batches)) this.#bumpPolicyGeneration()
    this.#have = want
    if (!this.#attached) this.attach()
    if (want.pl_subjects.size === 0) this.#unguard()
    return {
      writes: batches.reduce((sum, batch) => sum + batch.set.length, 0),
      deletes: batches.reduce((sum, batch) => sum + batch.delete.length, 0),
      durationMs: performance.now() - started,
    }
  }

  #write(batches: readonly Batch[]): void {
    for (const batch of batches) {
      const map = this.#map(batch.map)
      map.setAll(batch.set)
      map.deleteAll(batch.delete)
    }
  }

  setSettings(settings: DatapathSettings): void {
    this.#writeSettings({
      ...this.#settings,
      accel: accelModes[settings.acceleration],
      proxy4: settings.proxy4 ?? noAddress,
      proxy6: settings.proxy6 ?? noAddress,
      proxyPort: settings.proxyPort,
    })
  }

  /** Last heartbeat of the proxy; state is enum proxy_state, ageMs Infinity before the first. */
  proxyState(): { state: number; pid: number; ageMs: number } {
    const value = this.#map('pl_proxy').get(zeroKey)
    const { heartbeatNs, state, pid } = proxyLayout.read(
      value ?? Buffer.alloc(proxyLayout.size),
    )
    const ageNs = process.hrtime.bigint() - heartbeatNs
    return { state, pid, ageMs: heartbeatNs === 0n ? Infinity : Number(ageNs) / 1e6 }
  }

  /** Answers an EVENT_EXE: may sockets of this executable be accelerated? */
  setExecutable(inode: bigint, device: number, verdict: ExeVerdict): void {
    const key = exeKeyLayout.write({ inode, device })
    this.#map('pl_executables').setAll([[key, exeLayout.write({ verdict })]])
  }

  /** What the configured maps really hold. */
  tables(): Tables {
    return Object.fromEntries(
      configuredMaps.map((name) => [name, this.#map(name).table()]),
    ) as unknown as Tables
  }

  /** Entries of any map with keys, decoded. */
  dump<M extends KeyedMap>(name: M): { key: KeyOf<M>; value: ValueOf<M> }[] {
    return decode(name, this.#map(name).table())
  }

  mapInfo(): MapInfo[] {
    return [...this.#maps.values()].map((map) => map.info())
  }

  /** enum counter by name, summed over CPUs. */
  counters(): Record<string, number> {
    const map = this.#map('pl_counters')
    const counters = Object.entries(Counter).filter(([name]) => name !== 'COUNTER_COUNT')
    return Object.fromEntries(
      counters.map(([name, index]) => {
        const key = Buffer.alloc(4)
        key.writeUInt32LE(index)
        const values = map.get(key) ?? Buffer.alloc(0)
        let sum = 0n
        for (let at = 0; at < values.length; at += 8) sum += values.readBigUInt64LE(at)
        return [name, Number(sum)]
      }),
    )
  }

  /** Drains the ring buffer, at most `max` records. */
  readEvents(max: number): EventRecords {
    const room = max * flowEventLayout.size
    if (this.#eventBuffer.length < room) this.#eventBuffer = Buffer.alloc(room)
    const into = this.#eventBuffer.subarray(0, room)
    const used = native.ringbufConsume(this.#ring, into)
    return new EventRecords(Buffer.from(into.subarray(0, used)))
  }

  /** Programs of this build that are not effective on their hook; empty when all is well. */
  verifyAttached(): string[] {
    if (!this.#attached)
      return ['no configuration was applied yet: programs are not attached']
    return this.#wanted()
      .filter(({ target }) => target !== 'sockhash')
      .flatMap((attachment) => this.#verify(attachment))
  }

  /** Run time of each program since statistics were switched on (`enableStats`), for benchmarks. */
  programs(): ProgramInfo[] {
    return attachments.map((attachment) => native.progInfo(this.#programFd(attachment)))
  }

  /** Lets go of the descriptors. Programs, links and maps stay. */
  close(): void {
    native.ringbufClose(this.#ring)
    for (const map of this.#maps.values()) map.close()
    for (const object of this.#objects.values()) native.objectClose(object)
  }

  /** Refuses a datapath that another living process drives: two agents would undo each other's work. */
  #claim(): void {
    const map = this.#map('pl_owner')
    const value = map.get(zeroKey)
    const owner = ownerLayout.read(value ?? Buffer.alloc(ownerLayout.size))
    const alive = owner.pid !== 0 && processStartTime(owner.pid) === owner.startTime
    if (alive && owner.pid !== process.pid) {
      throw new BpfError(
        'FOREIGN_OWNER',
        `${this.#options.pinDir} is driven by process ${owner.pid}; stop that agent first`,
      )
    }
    const startTime = processStartTime(process.pid) ?? 0n
    map.setAll([[zeroKey, ownerLayout.write({ pid: process.pid, startTime })]])
  }

  /**
   * Puts every program on its hook; a link whose program is this one already stays. Called by the first apply, and by
   * whoever finds with `verifyAttached` that somebody else took one away. Throws BpfError.
   */
  attach(): void {
    for (const attachment of this.#wanted()) this.#attachOne(attachment)
    this.#attached = true
  }

  /** Questions that an agent before us took from the ring buffer and did not answer. */
  #askAgainForExecutables(): void {
    const unanswered = this.dump('pl_executables').filter(
      ({ value }) => value.verdict === ExeVerdict.EXE_UNKNOWN,
    )
    const keys = unanswered.map(({ key }) => exeKeyLayout.write(key))
    this.#map('pl_executables').deleteAll(keys)
  }

  #wanted(): Attachment[] {
    return attachments.filter(({ onlyWithPolicy }) => !onlyWithPolicy || this.#guarded)
  }

  #guard(): void {
    if (this.#guarded) return
    this.#guarded = true
    try {
      if (this.#attached) this.attach()
      this.#writeSettings({ ...this.#settings, hasPolicy: 1 })
    } catch (error) {
      this.#guarded = false // the next apply tries again
      throw error
    }
  }

  #unguard(): void {
    this.#guarded = false
    if (this.#settings.hasPolicy !== 0)
      this.#writeSettings({ ...this.#settings, hasPolicy: 0 })
    for (const { program, onlyWithPolicy } of attachments) {
      if (onlyWithPolicy) rmSync(join(this.#pins.links, program), { force: true })
    }
  }

  #attachOne(attachment: Attachment): void {
    try {
      if (attachment.target === 'sockhash') {
        const sockhash = this.#map('pl_sockhash').fd
        native.progAttach(this.#programFd(attachment), sockhash, attachment.type)
      } else {
        this.#attachToCgroup(attachment)
      }
    } catch (cause) {
      throw BpfError.from(`attach ${attachment.program}`, cause)
    }
  }

  /** Replaces the program of a pinned link, atomically; a link whose cgroup is gone or another is made anew. */
  #attachToCgroup(attachment: Attachment): void {
    const path = join(this.#pins.links, attachment.program)
    const cgroup = this.#cgroupOf(attachment)
    const pinned = native.getPinned(path)
    if (pinned >= 0) {
      try {
        if (BigInt(native.linkInfo(pinned).cgroupId) === cgroupId(cgroup)) {
          native.linkUpdate(pinned, this.#programFd(attachment))
          return
        }
      } finally {
        native.closeFd(pinned)
      }
      rmSync(path)
    }
    const directory = native.openDirectory(cgroup)
    try {
      const link = native.linkCreate(
        this.#programFd(attachment),
        directory,
        attachment.type,
      )
      native.pin(link, path)
      native.closeFd(link)
    } finally {
      native.closeFd(directory)
    }
  }

  #verify(attachment: Attachment): string[] {
    try {
      const directory = native.openDirectory(this.#cgroupOf(attachment))
      try {
        const { ids } = native.progQuery(directory, attachment.type, 1)
        const { id } = native.progInfo(this.#programFd(attachment))
        return ids.includes(id)
          ? []
          : [`${attachment.program} is not effective on ${this.#cgroupOf(attachment)}`]
      } finally {
        native.closeFd(directory)
      }
    } catch (error) {
      return [`${attachment.program}: ${(error as Error).message}`]
    }
  }

  #cgroupOf(attachment: Attachment): string {
    return attachment.target === 'proxy'
      ? this.#options.proxyCgroup
      : this.#options.cgroupRoot
  }

  #programFd(attachment: Attachment): number {
    const object = this.#objects.get(attachment.object)
    if (object === undefined)
      throw new BpfError('SYSTEM', `no object ${attachment.object}`)
    return native.objectProgramFd(object, attachment.program)
  }

  #map(name: string): KernelMap {
    const map = this.#maps.get(name)
    if (map === undefined) throw new BpfError('SYSTEM', `no map ${name}`)
    return map
  }

  #bumpPolicyGeneration(): void {
    const policyGeneration = (this.#settings.policyGeneration + 1) >>> 0
    this.#writeSettings({ ...this.#settings, policyGeneration })
  }

  #writeSettings(settings: Settings): void {
    this.#map('pl_settings').setAll([[zeroKey, settingsLayout.write(settings)]])
    this.#settings = settings
  }
}

function loadObjects(
  options: DatapathOptions,
  pins: Pins,
): ReadonlyMap<string, Handle<'object'>> {
  const level = Buffer.alloc(4)
  level.writeUInt32LE(cgroupLevel(options.cgroupRoot))
  const deadman = Buffer.alloc(8)
  deadman.writeBigUInt64LE(BigInt(options.deadmanMs ?? 400) * 1_000_000n)
  const loaded = new Map<string, Handle<'object'>>()
  try {
    for (const name of objects) {
      const object = native.objectOpen(
        join(options.objectDir, `${name}.bpf.o`),
        pins.maps,
      )
      loaded.set(name, object)
      native.objectSetVariable(object, 'config_cgroup_level', level)
      native.objectSetVariable(object, 'config_deadman_ns', deadman)
      native.objectLoad(object)
    }
    return loaded
  } catch (cause) {
    for (const object of loaded.values()) native.objectClose(object)
    const { errno } = cause as { errno?: number }
    throw BpfError.from(
      'load',
      cause,
      errno === 13 || errno === 22 ? 'REJECTED' : undefined,
    )
  }
}
