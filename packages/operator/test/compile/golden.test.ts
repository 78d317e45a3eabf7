// SPDX-License-Identifier: Apache-2.0
// Objects in, resources and conditions out: test/fixtures/<case>/{objects.yaml,want.json}. PILLION_UPDATE_GOLDEN=1 writes what
// came out; read the difference before committing it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatAddress, Role, type Resources, isMap } from '@pillion/contract'
import t from 'tap'
import { viewOf } from '../../src/publish/views.ts'
import { compileYaml } from '../support/objects.ts'

const fixtures = join(import.meta.dirname, '../fixtures')

/** Most services and endpoints do not have these: shown where they say something. */
const optional = new Set([
  ...['externalAddresses', 'nodePort', 'localOnly', 'affinitySeconds'],
  ...['zone', 'hintZones', 'hintNodes'],
  ...['traceCollector', 'otelMetrics'],
])

function isEmpty(value: unknown): boolean {
  return !value || (Array.isArray(value) && value.length === 0)
}

function readable(view: Resources): unknown {
  return JSON.parse(
    JSON.stringify(
      view,
      function (this: Record<string, unknown>, key: string, value: unknown) {
        const raw = this[key]
        if (optional.has(key) && isEmpty(raw)) return undefined
        if (raw instanceof Uint8Array) return formatAddress(raw)
        if (isMap(raw)) return raw.size === 0 ? undefined : Object.fromEntries(raw)
        return value
      },
    ),
  )
}

for (const name of readdirSync(fixtures)) {
  t.test(name, async (t) => {
    const dir = join(fixtures, name)
    const compiled = compileYaml(readFileSync(join(dir, 'objects.yaml'), 'utf8'))
    const got = {
      agent: readable(viewOf(compiled, 'node-1', Role.AGENT)),
      proxy: readable(viewOf(compiled, 'node-1', Role.PROXY)),
      conditions: Object.fromEntries(compiled.conditions),
    }
    const file = join(dir, 'want.json')
    if (process.env['PILLION_UPDATE_GOLDEN'] === '1') {
      writeFileSync(file, `${JSON.stringify(got, undefined, 2)}\n`)
    }
    t.strictSame(JSON.parse(JSON.stringify(got)), JSON.parse(readFileSync(file, 'utf8')))
  })
}
