// SPDX-License-Identifier: Apache-2.0
// The facade: open, apply, look inside, close. Traffic goes on when this object is gone.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  attachments,
  type Attachment,
  type OptionalFeature,
  type Reason,
} from './attach.ts'
import { changesPolicy, diff, hasShadowPolicy, losesDatagrams } from './diff.ts'
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
  proxyLayout,
  settingsLayout,
} from './gen/layout.ts'
import type { Settings } from './gen/layout.ts'
import { decode, KernelMap } from './kernel-map.ts'
import type { KeyedMap, KeyOf, MapInfo, ValueOf } from './kernel-map.ts'
import { Links } from './links.ts'
import { loadObjects, type Lacking, type LoadOptions } from './load.ts'
import { native } from './native.ts'
import type { Handle, ProgramInfo } from './native.ts'
import { claim, openPins, removeOtherLayouts } from './pins.ts'
import type { Pins } from './pins.ts'
import { configuredMaps } from './tables.ts'
import type { Tables } from './tables.ts'

export interface DatapathOptions extends LoadOptions {
  /** On a bpf file system; this node's own. */
  readonly pinDir: string
  /** cgroup v2 directory of the proxy: only there do the socket options exist. */
  readonly proxyCgroup: string
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
  /** What this kernel does not allow; the node runs without. */
  readonly lacking: readonly Lacking[]
  readonly #options: DatapathOptions
  readonly #pins: Pins
  /** Descriptor: whoever has it drives the datapath. */
  readonly #claim: number
  readonly #objects: ReadonlyMap<string, Handle<'object'>>
  readonly #maps: ReadonlyMap<string, KernelMap>
  readonly #links: Links
  readonly #attachments: readonly Attachment[]
  readonly #ring: Handle<'ring'>
  /** What we know to be in the maps; undefined after a failed write: the next apply reads them. */
  #have: Tables | undefined
  #settings: Settings
  #attached = false
  /** Kept: the agent polls many times a second, and mostly finds nothing. */
  #eventBuffer = Buffer.alloc(0)
  /** Why packets are looked at, if they are. */
  readonly #reasons = new Set<Reason>()

  private constructor(options: DatapathOptions) {
    this.#options = options
    this.#pins = openPins(options.pinDir)
    this.#claim = claim(options.pinDir)
    this.adopted = readdirSync(this.#pins.maps).length > 0
    const { objects, lacking } = loadObjects(options, this.#pins.maps)
    this.#objects = objects
    this.lacking = lacking
    this.#attachments = attachments.filter(({ feature }) => !this.#lacks(feature))
    this.#maps = new Map(
      mapNames.map((name) => [name, new KernelMap(name, join(this.#pins.maps, name))]),
    )
    this.#links = new Links({
      directory: this.#pins.links,
      cgroupRoot: options.cgroupRoot,
      proxyCgroup: options.proxyCgroup,
      objects,
      sockhashFd: this.#map('pl_sockhash').fd,
    })
    this.#settings = settingsLayout.read(
      this.#map('pl_settings').get(zeroKey) ?? Buffer.alloc(settingsLayout.size),
    )
    this.#ring = native.ringbufOpen(this.#map('pl_events').fd, flowEventLayout.size)
    this.#askAgainForExecutables()
  }

  /** Loads the programs that the kernel takes and adopts pinned maps. Throws BpfError; the kernel is then as it was. */
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
    if (want.pl_subjects.size > 0) this.#watchPackets('policy')
    if (losesDatagrams(batches)) this.#watchPackets('gone-endpoint')
    this.#have = undefined // not known until all is written
    try {
      this.#write(batches)
    } catch (error) {
      this.#write(diff(this.tables(), have)) // room again, and nothing stays in force by half
      throw error
    }
    if (unknown || changesPolicy(batches)) this.#policyChanged(want)
    this.#have = want
    if (!this.#attached) this.attach()
    if (want.pl_subjects.size === 0) this.#noPolicy()
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

  /** What the kernel does not allow stays off. */
  setSettings(settings: DatapathSettings): void {
    const { proxy4, proxy6, proxyPort } = this.#lacks('l7') ? { proxyPort: 0 } : settings
    this.#writeSettings({
      ...this.#settings,
      accel: accelModes[this.#lacks('acceleration') ? 'off' : settings.acceleration],
      proxy4: proxy4 ?? noAddress,
      proxy6: proxy6 ?? noAddress,
      proxyPort,
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
    return this.#wanted().flatMap((attachment) => this.#links.verify(attachment))
  }

  /** Run time of each program since statistics were switched on (`enableStats`), for benchmarks. */
  programs(): ProgramInfo[] {
    return this.#attachments.map((attachment) => this.#links.info(attachment))
  }

  /** Lets go of the descriptors. Programs, links and maps stay. */
  close(): void {
    native.ringbufClose(this.#ring)
    for (const map of this.#maps.values()) map.close()
    for (const object of this.#objects.values()) native.objectClose(object)
    native.closeFd(this.#claim)
  }

  /** From now on another agent is refused. */
  /**
   * Puts every program on its hook; a link whose program is this one already stays. Called by the first apply, and by
   * whoever finds with `verifyAttached` that somebody else took one away. Throws BpfError.
   */
  attach(): void {
    for (const attachment of this.#wanted()) this.#links.attach(attachment)
    // What an earlier build may have put there, and this one's is refused: it reads maps that nobody fills any more.
    for (const attachment of attachments) {
      if (this.#lacks(attachment.feature)) this.#links.detach(attachment)
    }
    if (!this.#attached) removeOtherLayouts(this.#options.pinDir, this.#pins.maps)
    this.#attached = true
  }

  /** Questions that an agent before us did not answer, or answered with "able" because it could not look. */
  #askAgainForExecutables(): void {
    const unanswered = this.dump('pl_executables').filter(
      ({ value }) => value.verdict !== ExeVerdict.EXE_PLAIN,
    )
    const keys = unanswered.map(({ key }) => exeKeyLayout.write(key))
    this.#map('pl_executables').deleteAll(keys)
  }

  #wanted(): Attachment[] {
    return this.#attachments.filter(
      ({ onlyWhile }) => onlyWhile?.some((reason) => this.#reasons.has(reason)) ?? true,
    )
  }

  #lacks(feature: OptionalFeature | undefined): boolean {
    return this.lacking.some((lack) => lack.feature === feature)
  }

  #watchPackets(reason: Reason): void {
    if (this.#reasons.has(reason)) return
    this.#reasons.add(reason)
    try {
      if (this.#attached) this.attach()
      if (reason === 'policy') this.#writeSettings({ ...this.#settings, hasPolicy: 1 })
    } catch (error) {
      this.#reasons.delete(reason) // the next apply tries again
      throw error
    }
  }

  #noPolicy(): void {
    this.#reasons.delete('policy')
    if (this.#settings.hasPolicy !== 0)
      this.#writeSettings({ ...this.#settings, hasPolicy: 0 })
    const wanted = new Set(this.#wanted())
    for (const attachment of this.#attachments) {
      if (!wanted.has(attachment)) this.#links.detach(attachment)
    }
  }

  #map(name: string): KernelMap {
    const map = this.#maps.get(name)
    if (map === undefined) throw new BpfError('SYSTEM', `no map ${name}`)
    return map
  }

  #policyChanged(want: Tables): void {
    const policyGeneration = (this.#settings.policyGeneration + 1) >>> 0
    const hasShadow = Number(hasShadowPolicy(want))
    this.#writeSettings({ ...this.#settings, policyGeneration, hasShadow })
  }

  #writeSettings(settings: Settings): void {
    this.#map('pl_settings').setAll([[zeroKey, settingsLayout.write(settings)]])
    this.#settings = settings
  }
}
