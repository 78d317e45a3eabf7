// SPDX-License-Identifier: Apache-2.0
// BTF of bpf/.output/layout.bpf.o -> TypeScript readers and writers of every struct that crosses the kernel border.
//
//   node tools/gen-layout.ts [OUTPUT_ROOT]
//
// Map keys and values are found through the maps; the rest through the export_ variables of layout.bpf.c. __be16 is the
// only big-endian scalar; members named pad* are omitted and written as zero. Unions, bit-fields and floats are refused.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { format, resolveConfig } from 'prettier'

type Member = {
  name: string
  type_id: number
  bits_offset: number
  bitfield_size?: number
}
type BtfType = {
  id: number
  kind: string
  name: string
  size?: number
  type_id?: number
  nr_elems?: number
  members?: Member[]
  values?: { name: string; val: number }[]
}
type Scalar = { read: string; write: string; ts: string; size: number }

const root = join(import.meta.dirname, '..')
const outputRoot = process.argv[2] ?? root
const object = join(root, 'bpf/.output/layout.bpf.o')
const btf = new Map<number, BtfType>(
  (
    JSON.parse(
      execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', object], {
        encoding: 'utf8',
      }),
    ) as { types: BtfType[] }
  ).types.map((type) => [type.id, type]),
)

function typeOf(id: number | undefined): BtfType {
  const type = btf.get(id ?? 0)
  if (type === undefined) throw new Error(`BTF type ${id} is not in ${object}`)
  return type
}

/** Through pointers and const, not through typedefs: their names carry the byte order. */
function strip(type: BtfType): BtfType {
  return type.kind === 'PTR' || type.kind === 'CONST' ? strip(typeOf(type.type_id)) : type
}

const camel = (name: string): string =>
  name.replace(/_+([a-z0-9])/g, (_, c: string) => c.toUpperCase())
const pascal = (name: string): string => camel(`_${name}`)

const scalars: Record<string, Scalar> = {
  __u8: { read: 'readUInt8', write: 'writeUInt8', ts: 'number', size: 1 },
  __u16: { read: 'readUInt16LE', write: 'writeUInt16LE', ts: 'number', size: 2 },
  __be16: { read: 'readUInt16BE', write: 'writeUInt16BE', ts: 'number', size: 2 },
  __u32: { read: 'readUInt32LE', write: 'writeUInt32LE', ts: 'number', size: 4 },
  __u64: { read: 'readBigUInt64LE', write: 'writeBigUInt64LE', ts: 'bigint', size: 8 },
}

/** A member as text: its TypeScript type, how it is read, how it is written. */
function member(m: Member, at: number): { ts: string; read: string; write: string } {
  const type = typeOf(m.type_id)
  const value = `value.${camel(m.name)}`
  const scalar = scalars[type.name]
  if (m.bitfield_size) throw new Error(`${m.name}: bit-fields are refused`)
  if (scalar !== undefined) {
    return {
      ts: scalar.ts,
      read: `from.${scalar.read}(at + ${at})`,
      write: `into.${scalar.write}(${value}, at + ${at})`,
    }
  }
  const bytes = byteArrayLength(type)
  if (bytes !== undefined) {
    return {
      ts: 'Uint8Array',
      read: `from.subarray(at + ${at}, at + ${at + bytes})`,
      write: `putBytes(into, at + ${at}, ${value}, ${bytes})`,
    }
  }
  if (type.kind === 'STRUCT' && type.name !== '(anon)') {
    return {
      ts: pascal(type.name),
      read: `${camel(type.name)}Layout.read(from, at + ${at})`,
      write: `${camel(type.name)}Layout.write(${value}, into, at + ${at})`,
    }
  }
  throw new Error(`${m.name}: no rule for BTF ${type.kind} ${type.name}`)
}

/** Length of an __u8 array, or of a struct that is nothing but one (struct addr). */
function byteArrayLength(type: BtfType): number | undefined {
  const only = type.members?.[0]
  if (type.kind === 'STRUCT' && type.members?.length === 1 && only !== undefined) {
    return byteArrayLength(typeOf(only.type_id))
  }
  if (type.kind === 'ARRAY' && typeOf(type.type_id).name === '__u8') return type.nr_elems
  return undefined
}

function structText(type: BtfType): string {
  const members = (type.members ?? []).filter((m) => !m.name.startsWith('pad'))
  const parts = members.map((m) => ({
    name: camel(m.name),
    ...member(m, m.bits_offset / 8),
  }))
  const name = pascal(type.name)
  return `
/** struct ${type.name}, ${type.size} bytes. */
export interface ${name} {
${parts.map((p) => `  readonly ${p.name}: ${p.ts}`).join('\n')}
}

export const ${camel(type.name)}Layout: Layout<${name}> = {
  size: ${type.size},
  read: (from, at = 0) => ({
${parts.map((p) => `    ${p.name}: ${p.read},`).join('\n')}
  }),
  write: (value, into = Buffer.alloc(${type.size}), at = 0) => {
${parts.map((p) => `    ${p.write}`).join('\n')}
    return into
  },
}
`
}

function enumText(type: BtfType): string {
  const name = pascal(type.name)
  const values = (type.values ?? []).map((v) => `  ${v.name}: ${v.val},`).join('\n')
  return `
/** enum ${type.name}. */
export const ${name} = {
${values}
} as const
export type ${name} = (typeof ${name})[keyof typeof ${name}]
`
}

interface MapRow {
  name: string
  key: string | undefined
  value: string | undefined
  keySize: number
  valueSize: number
}

function sizeOf(type: BtfType): number {
  const scalar = scalars[type.name]
  if (scalar !== undefined) return scalar.size
  if (type.size === undefined) throw new Error(`size of ${type.kind} ${type.name}`)
  return type.size
}

/** Maps are global variables whose struct has a key or a max_entries member. */
function maps(): MapRow[] {
  const rows: MapRow[] = []
  for (const variable of btf.values()) {
    if (variable.kind !== 'VAR' || !variable.name.startsWith('pl_')) continue
    const members = typeOf(variable.type_id).members ?? []
    const field = (name: string): BtfType | undefined => {
      const found = members.find((m) => m.name === name)
      return found === undefined ? undefined : strip(typeOf(found.type_id))
    }
    const [key, value] = [field('key'), field('value')]
    const struct = (type: BtfType | undefined): string | undefined =>
      type?.kind === 'STRUCT' ? type.name : undefined
    rows.push({
      name: variable.name,
      key: struct(key),
      value: struct(value),
      keySize: key === undefined ? 0 : sizeOf(key),
      valueSize: value === undefined ? 0 : sizeOf(value),
    })
  }
  return rows
}

const header = `// SPDX-License-Identifier: Apache-2.0
// Generated by tools/gen-layout.ts from the BTF of bpf/. Do not edit: change bpf/include/pillion/types.h and run make gen.

/** How a struct lies in memory. \`read\` returns views into \`from\` for byte arrays. */
export interface Layout<T> {
  readonly size: number
  read(from: Buffer, at?: number): T
  write(value: T, into?: Buffer, at?: number): Buffer
}

function putBytes(into: Buffer, at: number, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new RangeError(\`\${length} bytes wanted, got \${bytes.length}\`)
  }
  into.set(bytes, at)
}
`

/** Of names, offsets and types of all members, and of the maps' definitions. */
function layoutHash(rows: MapRow[]): string {
  const shapes = [...btf.values()]
    .filter((t) => t.kind === 'STRUCT' && t.name !== '(anon)' && wanted(t))
    .map((t) => [t.name, t.size, t.members?.map((m) => [m.name, m.bits_offset])])
  return createHash('sha256')
    .update(JSON.stringify([shapes, rows, mapDefinitions()]))
    .digest('hex')
    .slice(0, 12)
}

/** Type, size and flags of every map: libbpf encodes them as array lengths. */
function mapDefinitions(): unknown[] {
  return [...btf.values()]
    .filter((v) => v.kind === 'VAR' && v.name.startsWith('pl_'))
    .map((v) => [
      v.name,
      typeOf(v.type_id).members?.map((m) => [
        m.name,
        strip(typeOf(m.type_id)).nr_elems ?? 0,
      ]),
    ])
}

function mapsText(rows: MapRow[]): string {
  const scalarLayouts = `
const u32Layout: Layout<number> = {
  size: 4,
  read: (from, at = 0) => from.readUInt32LE(at),
  write: (value, into = Buffer.alloc(4), at = 0) => {
    into.writeUInt32LE(value, at)
    return into
  },
}

const u64Layout: Layout<bigint> = {
  size: 8,
  read: (from, at = 0) => from.readBigUInt64LE(at),
  write: (value, into = Buffer.alloc(8), at = 0) => {
    into.writeBigUInt64LE(value, at)
    return into
  },
}
`
  const layout = (name: string | undefined, size: number): string =>
    name !== undefined ? `${camel(name)}Layout` : size === 8 ? 'u64Layout' : 'u32Layout'
  const lines = rows
    .filter((row) => row.keySize > 0)
    .map(
      (row) =>
        `  ${row.name}: { key: ${layout(row.key, row.keySize)}, value: ${layout(row.value, row.valueSize)} },`,
    )
  const names = rows.map((row) => `'${row.name}'`).join(', ')
  return `${scalarLayouts}
/** Every map of the datapath that has keys, with the layouts of its key and value. */
export const maps = {
${lines.join('\n')}
} as const

/** Names of all maps, as pinned. */
export const mapNames = [${names}] as const

/** Changes with every change of a struct or map: datapaths with different ones never share maps. */
export const layoutHash = '${layoutHash(rows)}'
`
}

/** Struct names in the order of their declaration; `only` restricts to those. */
function structs(only?: ReadonlySet<string>): string {
  return [...btf.values()]
    .filter((t) => t.kind === 'STRUCT' && (only?.has(t.name) ?? wanted(t)))
    .map(structText)
    .join('')
}

/** Structs of types.h: reachable from a map or an export; not the kernel's, not the maps' own. */
function wanted(type: BtfType): boolean {
  if (type.name === '(anon)' || type.name === 'addr') return false
  return (
    mapRows.some((row) => row.key === type.name || row.value === type.name) ||
    [...btf.values()].some((v) => v.kind === 'VAR' && v.name === `export_${type.name}`)
  )
}

function enums(only?: ReadonlySet<string>): string {
  return [...btf.values()]
    .filter(
      (t) => t.kind === 'ENUM' && t.name !== '(anon)' && (only?.has(t.name) ?? true),
    )
    .map(enumText)
    .join('')
}

async function emit(path: string, text: string): Promise<void> {
  const file = join(outputRoot, path)
  const config = await resolveConfig(join(root, path))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, await format(text, { ...config, parser: 'typescript' }))
}

const mapRows = maps()
const proxyStructs = new Set(['origin', 'heartbeat', 'on_behalf_of'])
const proxyEnums = new Set(['pillion_sockopt', 'proxy_state'])
await emit(
  'packages/ebpf-l4/src/gen/layout.ts',
  header + enums() + structs() + mapsText(mapRows),
)
await emit(
  'packages/node-l7-proxy/src/gen/layout.ts',
  header + enums(proxyEnums) + structs(proxyStructs),
)
