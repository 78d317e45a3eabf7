// SPDX-License-Identifier: Apache-2.0
// timeout: 180
// A filter as a user writes and loads it, in the lab: it signs, it is changed, and a version that cannot be loaded changes nothing.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { must, pillion, shell, until } from '../support/lab.ts'

const root = join(import.meta.dirname, '../..')
const directory = mkdtempSync(join(tmpdir(), 'pillion-filters-'))
const [code, secrets] = [join(directory, 'code'), join(directory, 'secrets')]
const filter = join(code, 'sign.ts')

t.before(async () => {
  cpSync(join(root, 'examples/filters/sign-headers.ts'), filter, { recursive: true })
  cpSync(join(root, 'LICENSE'), join(secrets, 'sign-key'), { recursive: true })
  await pillion(['lab', 'down'])
  const dirs = ['--filters', code, '--filter-secrets', secrets]
  await must(['lab', 'up', join(import.meta.dirname, 'filters'), ...dirs], 120_000)
})
t.teardown(async () => {
  await pillion(['lab', 'down'])
  rmSync(directory, { recursive: true })
})

/** What the backend got, by the name of the header; empty when there was another answer. */
async function headers(): Promise<Record<string, string>> {
  const { out } = await shell('client', 'curl -s -m 5 http://echo/')
  return out.startsWith('{') ? (JSON.parse(out) as Record<string, string>) : {}
}

t.test('requests are signed, by whom they come from', async (t) => {
  await until('a signature', async () => (await headers())['signature'] !== undefined)
  const got = await headers()
  t.equal(got['x-source'], 'e2e/default')
  t.match(got['signature-input'], /"@method".*;keyid="e2e";alg="hmac-sha256"/)
})

t.test('a version that cannot be loaded leaves the last one in place', async (t) => {
  writeFileSync(filter, 'export default {')
  await until('the proxy to say so', async () => {
    const log = await must(['lab', 'logs', 'node/node-1'])
    return /"filter":"sign".*"problem"/.test(log)
  })
  t.ok((await headers())['signature'])
})

t.test('a new version serves without a restart', async (t) => {
  writeFileSync(
    filter,
    'export default { onRequest: (r) => r.headers.set("x-version", "2") }',
  )
  await until('the new version', async () => (await headers())['x-version'] === '2')
  t.notOk((await headers())['signature'])
})
