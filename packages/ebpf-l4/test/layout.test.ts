// SPDX-License-Identifier: Apache-2.0
// What a C compiler makes of types.h, byte by byte, is what the generated readers and writers make of it.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import * as generated from '../src/gen/layout.ts'

const include = join(import.meta.dirname, '../../../bpf/include')
const header = readFileSync(join(include, 'pillion/types.h'), 'utf8').replaceAll(
  /\/\*.*?\*\//gs,
  '',
)

interface Member {
  readonly type: string
  readonly name: string
  /** Array length as written; undefined: no array. */
  readonly length: string | undefined
}

const camel = (name: string): string =>
  name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
/** enum some_name is exported as SomeName. */
const exported = (name: string): string => camel(`_${name}`)

/** struct name -> members. */
const structs = new Map(
  [...header.matchAll(/struct (\w+) \{(.*?)\};/gs)].map(([, name = '', body = '']) => [
    name,
    [...body.matchAll(/([\w ]+?) (\w+)(?:\[(\w+)\])?;/g)].map(
      ([, type = '', member = '', length]): Member => ({
        type: type.trim(),
        name: member,
        length,
      }),
    ),
  ]),
)
const enums = new Map(
  [...header.matchAll(/enum (\w+) \{(.*?)\};/gs)].map(([, name = '', body = '']) => [
    name,
    [...body.matchAll(/\b[A-Z]\w+/g)].map(([member]) => member),
  ]),
)

const widths: Readonly<Record<string, number>> = {
  __u8: 1,
  __u16: 2,
  __be16: 2,
  __u32: 4,
  __u64: 8,
}

/** Gives every member a value whose bytes all differ from each other and from its neighbours'. */
class Filler {
  readonly statements: string[] = []
  #byte = 0

  #bytes(count: number): Buffer {
    // From 0x81 on: a reader that takes a number as signed is found out.
    return Buffer.from(Array.from({ length: count }, () => 0x81 + (this.#byte++ % 0x7e)))
  }

  fill(struct: string, prefix: string): Record<string, unknown> {
    const value: Record<string, unknown> = {}
    for (const member of structs.get(struct) ?? []) {
      if (member.name.startsWith('pad')) continue
      value[camel(member.name)] = this.#member(member, `${prefix}.${member.name}`)
    }
    return value
  }

  #member({ type, length }: Member, place: string): unknown {
    if (type === 'struct addr' || length !== undefined) {
      const bytes = this.#bytes(16)
      const list = [...bytes].join(', ')
      this.statements.push(
        `_Static_assert(sizeof(${place}) == 16, "bytes");`,
        `memcpy(&${place}, (__u8[]){ ${list} }, 16);`,
      )
      return bytes
    }
    if (type.startsWith('struct ')) return this.fill(type.slice(7), place)
    const width = widths[type]
    if (width === undefined) throw new Error(`no width of ${type}`)
    const bytes = this.#bytes(width)
    const hex = `0x${bytes.toString('hex')}`
    this.statements.push(
      `${place} = ${type === '__be16' ? `htons(${hex})` : `${hex}ULL`};`,
    )
    return width === 8 ? BigInt(hex) : Number(hex)
  }
}

interface Golden {
  readonly size: number
  readonly bytes: Buffer
  readonly value: Record<string, unknown>
}

/** Compiles and runs a program that fills each struct and prints it; and each enum's members. */
function golden(): { structs: Map<string, Golden>; constants: Map<string, number> } {
  const values = new Map<string, Record<string, unknown>>()
  const blocks: string[] = []
  for (const name of structs.keys()) {
    const filler = new Filler()
    values.set(name, filler.fill(name, 'v'))
    blocks.push(
      `{ struct ${name} v; memset(&v, 0, sizeof(v));`,
      ...filler.statements,
      `show("${name}", &v, sizeof(v)); }`,
    )
  }
  for (const member of [...enums.values()].flat()) {
    blocks.push(`printf("${member} %lld -\\n", (long long)${member});`)
  }
  const program = `#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <linux/types.h>
#include "pillion/types.h"
static void show(const char *name, const void *data, size_t size)
{
  printf("%s %zu ", name, size);
  for (size_t i = 0; i < size; i++) printf("%02x", ((const unsigned char *)data)[i]);
  printf("\\n");
}
int main(void)
{
${blocks.join('\n')}
return 0;
}
`
  const directory = mkdtempSync(join(tmpdir(), 'pillion-layout-'))
  try {
    const source = join(directory, 'golden.c')
    const binary = join(directory, 'golden')
    writeFileSync(source, program)
    const flags = ['-std=gnu11', '-Wall', '-Werror', '-I', include, '-o', binary]
    execFileSync('cc', [...flags, source])
    const found = new Map<string, Golden>()
    const constants = new Map<string, number>()
    for (const line of execFileSync(binary, { encoding: 'utf8' }).trim().split('\n')) {
      const [name = '', size, hex = ''] = line.split(' ')
      const value = values.get(name)
      if (value === undefined) constants.set(name, Number(size))
      else found.set(name, { size: Number(size), bytes: Buffer.from(hex, 'hex'), value })
    }
    return { structs: found, constants }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

type AnyLayout = generated.Layout<Record<string, unknown>>
const all = generated as unknown as Record<string, unknown>
const layouts = new Map(
  Object.entries(all)
    .filter(([name]) => name.endsWith('Layout'))
    .map(([name, layout]) => [name, layout as AnyLayout]),
)
const { structs: goldens, constants } = golden()

t.test('every struct that crosses the border is generated, and no other', async (t) => {
  const names = [...structs.keys()].filter((name) => name !== 'addr') // a byte array
  t.same(names.map((name) => `${camel(name)}Layout`).sort(), [...layouts.keys()].sort())
  t.ok(names.length >= 20, `${names.length} structs were found in types.h`)
})

for (const [name, layout] of layouts) {
  t.test(name, async (t) => {
    const struct = [...goldens.keys()].find((c) => `${camel(c)}Layout` === name) ?? ''
    const wanted = goldens.get(struct)
    if (wanted === undefined) throw new Error(`no struct of ${name}`)
    const { size, bytes, value } = wanted
    t.equal(layout.size, size, 'size')
    t.same(layout.read(bytes), value, 'read')
    t.equal(layout.write(value).toString('hex'), bytes.toString('hex'), 'write')

    const at = 5
    const wide = Buffer.alloc(size + 2 * at, 0xee)
    bytes.copy(wide, at)
    t.same(layout.read(wide, at), value, 'read inside of a buffer')
    const into = Buffer.alloc(size + 2 * at, 0)
    t.equal(layout.write(value, into, at), into)
    t.equal(into.subarray(at, at + size).toString('hex'), bytes.toString('hex'), 'at')
    t.ok(
      Buffer.concat([into.subarray(0, at), into.subarray(at + size)]).every(
        (b) => b === 0,
      ),
      'nothing is written beside it',
    )
    t.throws(() => layout.read(bytes.subarray(0, 1)), RangeError, 'too short to read')
    t.throws(() => layout.write(value, Buffer.alloc(1)), RangeError, 'too short to write')
  })
}

t.test('addresses and names have one length', async (t) => {
  const key = { port: 1, protocol: 6 }
  for (const length of [0, 4, 15, 17]) {
    t.throws(
      () => generated.serviceKeyLayout.write({ ...key, addr: Buffer.alloc(length) }),
      { message: `16 bytes wanted, got ${length}` },
    )
  }
})

t.test('enums', async (t) => {
  t.equal(constants.get('COUNTER_COUNT'), Object.keys(generated.Counter).length - 1)
  for (const [name, members] of enums) {
    const want = Object.fromEntries(members.map((m) => [m, constants.get(m)]))
    t.same(all[exported(name)], want, name)
  }
})

t.test('maps name their structs', async (t) => {
  const names: readonly string[] = generated.mapNames
  for (const [name, { key, value }] of Object.entries(generated.maps)) {
    t.ok(names.includes(name), name)
    t.ok(key.size > 0 && value.size > 0)
  }
})
