// SPDX-License-Identifier: Apache-2.0
// STATUS files: one for each object, and a summary. Written only when their content changed, and never half.
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parse, stringify } from 'yaml'
import { formatError } from '../api/object.ts'
import { isBad, type Condition } from '../compile/condition.ts'
import type { ObjectStatus } from './conditions.ts'
import type { StatusSink, Summary } from './sink.ts'

interface Written {
  readonly text: string
  /** When each condition got its status: type → "status time". */
  readonly since: ReadonlyMap<string, { status: string; time: string }>
}

/** <dir>/<namespace>/<Kind>.<name>.yaml; what is cluster scoped is in "_cluster". */
function fileOf({ kind, namespace, name }: ObjectStatus): string {
  return join(namespace === '' ? '_cluster' : namespace, `${kind}.${name}.yaml`)
}

const summaryFile = 'STATUS.yaml'

export class StatusWriter implements StatusSink {
  readonly #dir: string
  readonly #now: () => Date
  readonly #written = new Map<string, Written>()

  /** Takes over what an earlier run wrote, so that times last and files of gone objects go. */
  constructor(dir: string, now: () => Date = () => new Date()) {
    this.#dir = dir
    this.#now = now
    mkdirSync(dir, { recursive: true })
    for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.yaml')) continue
      const path = join(entry.parentPath, entry.name)
      const text = readFileSync(path, 'utf8')
      this.#written.set(relative(dir, path), { text, since: timesOf(text) })
    }
  }

  /** Writes what changed and removes what is gone; throws what the file system throws. */
  write(summary: Summary): void {
    const current = new Set<string>([summaryFile])
    for (const object of summary.objects) {
      const file = fileOf(object)
      current.add(file)
      this.#writeObject(file, object)
    }
    this.#replace(summaryFile, summaryText(summary), new Map())
    for (const file of this.#written.keys()) {
      if (current.has(file)) continue
      rmSync(join(this.#dir, file), { force: true })
      this.#written.delete(file)
    }
  }

  /** Everything is written already. */
  async close(): Promise<void> {
    // Nothing is open.
  }

  #writeObject(file: string, object: ObjectStatus): void {
    const since = new Map<string, { status: string; time: string }>()
    const before = this.#written.get(file)
    const conditions = object.conditions.map((condition) => {
      const known = before?.since.get(condition.type)
      const time =
        known?.status === condition.status ? known.time : this.#now().toISOString()
      since.set(condition.type, { status: condition.status, time })
      return {
        ...condition,
        observedGeneration: object.observedGeneration,
        lastTransitionTime: time,
      }
    })
    const { kind, namespace, name } = object
    const metadata = namespace === '' ? { name } : { namespace, name }
    this.#replace(file, stringify({ kind, metadata, status: { conditions } }), since)
  }

  #replace(file: string, text: string, since: Written['since']): void {
    if (this.#written.get(file)?.text === text) return
    const path = join(this.#dir, file)
    mkdirSync(dirname(path), { recursive: true })
    // A dot first: no reader of manifests takes it for one.
    const temporary = join(dirname(path), '.tmp')
    writeFileSync(temporary, text)
    renameSync(temporary, path)
    this.#written.set(file, { text, since })
  }
}

function timesOf(text: string): Written['since'] {
  try {
    const value = parse(text) as {
      status?: { conditions?: (Condition & { lastTransitionTime?: string })[] }
    } | null
    return new Map(
      (value?.status?.conditions ?? []).map(
        ({ type, status, lastTransitionTime = '' }) => [
          type,
          { status, time: lastTransitionTime },
        ],
      ),
    )
  } catch {
    // Somebody wrote into it; it is written again.
    return new Map()
  }
}

function summaryText({ version, objects, errors, subscribers }: Summary): string {
  const bad = objects.flatMap((object) =>
    object.conditions
      .filter(isBad)
      .map(
        ({ type, reason, message }) =>
          `${object.kind} ${object.namespace}/${object.name}: ${type}: ${reason}: ${message}`,
      ),
  )
  return stringify({
    version,
    nodes: subscribers.map(({ node, role, connected, current, nack }) => ({
      node,
      role,
      state: !connected
        ? 'away'
        : nack !== undefined
          ? `refused: ${nack.reason}`
          : current
            ? 'current'
            : 'behind',
    })),
    errors: errors.map(formatError),
    conditions: bad,
  })
}
