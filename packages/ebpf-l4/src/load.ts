// SPDX-License-Identifier: Apache-2.0
// Objects into the kernel. A program that the kernel refuses is left out where the node can go without it.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { attachments, objects, optionalHelpers, type OptionalFeature } from './attach.ts'
import { cgroupLevel } from './cgroup.ts'
import { BpfError, reasonOf } from './errors.ts'
import { Telemetry } from './gen/layout.ts'
import { native, type Handle } from './native.ts'

export interface LoadOptions {
  /** Directory of the compiled programs, bpf/.output. */
  readonly objectDir: string
  /** cgroup v2 directory of all pods and processes of the node. */
  readonly cgroupRoot: string
  /** A proxy that was silent for this long is dead. Default 400. */
  readonly deadmanMs?: number
  /** What is told of connections that nobody refuses. Default "all". */
  readonly telemetry?: TelemetryLevel
}

/** all: sums by identities, and events of opens, closes and shifts; sums: no events; off: neither. Denials are told in any case. */
export type TelemetryLevel = 'all' | 'sums' | 'off'

const telemetryLevels: Readonly<Record<TelemetryLevel, Telemetry>> = {
  all: Telemetry.TELEMETRY_ALL,
  sums: Telemetry.TELEMETRY_SUMS,
  off: Telemetry.TELEMETRY_OFF,
}

/** One program, asked of the verifier alone. */
export interface ProgramTrial {
  readonly object: string
  readonly program: string
  /** In the kernel's words; absent: accepted. */
  readonly refused?: string
}

/** A feature that this kernel does not allow, and why. */
export interface Lacking {
  readonly feature: OptionalFeature
  readonly reason: string
}

export interface Loaded {
  /** By name of the object; one without any program is missing. */
  readonly objects: ReadonlyMap<string, Handle<'object'>>
  readonly lacking: readonly Lacking[]
}

/**
 * Loads every object; maps are created or adopted below `mapPins`. Throws BpfError when a program is refused that the node cannot
 * do without; nothing stays loaded then.
 */
export function loadObjects(options: LoadOptions, mapPins: string): Loaded {
  const loaded = new Map<string, Handle<'object'>>()
  const refused: ProgramTrial[] = []
  try {
    for (const name of objects) {
      try {
        loaded.set(name, load(options, name, mapPins))
      } catch (cause) {
        const trials = tryObject(options, name)
        const failed = trials.filter((trial) => trial.refused !== undefined)
        if (failed.length === 0 || failed.some(isNeeded)) throw cause
        refused.push(...failed)
        if (failed.length === trials.length) continue
        const omitted = failed.map(({ program }) => program)
        loaded.set(name, load(options, name, mapPins, omitted))
      }
    }
    return { objects: loaded, lacking: [...lackingOf(refused), ...lackingHelpers()] }
  } catch (cause) {
    for (const object of loaded.values()) native.objectClose(object)
    throw loadError(cause)
  }
}

/**
 * Asks the verifier about every program, each alone and with maps of its own: nothing is attached, pinned or shared with a
 * datapath that runs. Throws BpfError when an object cannot be read.
 */
export function tryPrograms(options: LoadOptions): ProgramTrial[] {
  const files = new Set(readdirSync(options.objectDir))
  return objects.flatMap((name) => {
    if (!files.has(`${name}.bpf.o`)) {
      const message = `no ${name}.bpf.o in ${options.objectDir}; run: make bpf`
      throw new BpfError('SYSTEM', message)
    }
    return tryObject(options, name)
  })
}

/** What is lacking of what `trials` and the kernel's helpers say. */
export function lackingOf(trials: readonly ProgramTrial[]): Lacking[] {
  return trials.flatMap(({ program, refused }) => {
    const feature = attachments.find((each) => each.program === program)?.feature
    if (refused === undefined || feature === undefined) return []
    return [{ feature, reason: `${program} is refused: ${refused}` }]
  })
}

export function lackingHelpers(): Lacking[] {
  return optionalHelpers
    .filter(({ helper }) => !native.hasHelper(helper))
    .map(({ feature, needs }) => ({ feature, reason: `the kernel has no ${needs}` }))
}

function isNeeded({ program }: ProgramTrial): boolean {
  return attachments.find((each) => each.program === program)?.feature === undefined
}

function tryObject(options: LoadOptions, name: string): ProgramTrial[] {
  const object = open(options, name, '')
  const programs = native.objectPrograms(object)
  native.objectClose(object)
  return programs.map((program) => {
    const others = programs.filter((other) => other !== program)
    try {
      native.objectClose(load(options, name, '', others))
      return { object: name, program }
    } catch (error) {
      return { object: name, program, refused: reasonOf(error) }
    }
  })
}

function load(
  options: LoadOptions,
  name: string,
  mapPins: string,
  omitted: readonly string[] = [],
): Handle<'object'> {
  const object = open(options, name, mapPins)
  try {
    for (const program of omitted) native.objectOmit(object, program)
    native.objectLoad(object)
    return object
  } catch (error) {
    native.objectClose(object)
    throw error
  }
}

function open(options: LoadOptions, name: string, mapPins: string): Handle<'object'> {
  const object = native.objectOpen(join(options.objectDir, `${name}.bpf.o`), mapPins)
  const level = Buffer.alloc(4)
  level.writeUInt32LE(cgroupLevel(options.cgroupRoot))
  const deadman = Buffer.alloc(8)
  deadman.writeBigUInt64LE(BigInt(options.deadmanMs ?? 400) * 1_000_000n)
  const telemetry = Buffer.alloc(4)
  telemetry.writeUInt32LE(telemetryLevels[options.telemetry ?? 'all'])
  native.objectSetVariable(object, 'config_cgroup_level', level)
  native.objectSetVariable(object, 'config_deadman_ns', deadman)
  native.objectSetVariable(object, 'config_telemetry', telemetry)
  return object
}

function loadError(cause: unknown): BpfError {
  const { errno } = cause as { errno?: number }
  return BpfError.from(
    'load',
    cause,
    errno === 13 || errno === 22 ? 'REJECTED' : undefined,
  )
}
