// SPDX-License-Identifier: Apache-2.0
// timeout: 240
// A policy is watched before it is enforced: nothing is refused, `pillion policy shadow` says what would be, and enforcing it
// refuses just that.
import { join } from 'node:path'
import t from 'tap'
import { must, pillion, shell, until, withYaml } from '../support/lab.ts'

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(['lab', 'up', join(import.meta.dirname, 'shadow'), '--nodes', '2'], 120_000)
})
t.teardown(() => pillion(['lab', 'down']))

const connections = 20

/** How many of some connections to the service, on both nodes, were answered. */
async function answered(pod: string): Promise<number> {
  const call = 'nc -w 2 api 80 </dev/null'
  const loop = `for i in $(seq ${connections}); do ${call}; echo; done`
  return (await shell(pod, loop)).out.split('hello').length - 1
}

const onlyWeb = (mode: string): string => `
apiVersion: mesh.pillion.dev/v1alpha1
kind: AccessPolicy
metadata: { name: only-web, namespace: e2e }
spec:
  mode: ${mode}
  selector: { matchLabels: { app: api } }
  rules: [{ from: [{ podSelector: { matchLabels: { app: web } } }] }]
`

const silent = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: silent, namespace: e2e, annotations: { mesh.pillion.dev/mode: Shadow } }
spec: { podSelector: { matchLabels: { app: web } }, policyTypes: [Egress] }
`

interface Shadowed {
  readonly policy: string
  readonly rows: readonly { source: { name: string }; port: number; count: number }[]
}

async function shadow(...args: string[]): Promise<readonly Shadowed[]> {
  const text = await must(['policy', 'shadow', ...args, '-o', 'json'])
  return (JSON.parse(text) as { policies: readonly Shadowed[] }).policies
}

t.test('nothing is in Shadow mode at first', async (t) => {
  t.equal(await must(['policy', 'shadow']), 'no policy is in Shadow mode')
})

t.test('in Shadow mode all is let through, and told', async (t) => {
  t.equal((await withYaml('apply', onlyWeb('Shadow'))).code, 0)
  await until('in force', async () => (await shadow('only-web')).length === 1)
  t.match(await must(['policy', 'shadow']), /only-web would have denied nothing so far/)
  t.equal(await answered('web'), connections)
  t.equal(await answered('other'), connections)
  const [policy] = await shadow('only-web', '-n', 'e2e')
  t.equal(policy?.policy, 'AccessPolicy e2e/only-web')
  t.match(policy?.rows, [
    { source: { name: 'e2e/other' }, port: 8080, count: connections },
  ])
  t.equal(policy?.rows.length, 1, 'both nodes in one row, and nobody else')
  t.match(
    await must(['policy', 'shadow']),
    /AccessPolicy e2e\/only-web would have denied 20 connections from e2e\/other to e2e\/api-1, e2e\/api-2 port 8080\/TCP, last \d+ s ago/,
  )
  const explained = await must(['explain', 'e2e/other', 'e2e/api:80'])
  t.match(explained, /allowed, carried/)
  t.match(explained, /would be denied by AccessPolicy e2e\/only-web/)
  t.notMatch(await must(['explain', 'e2e/web', 'e2e/api:80']), /would be denied/)
  await until('an event', async () =>
    /would deny .*e2e\/other/.test(await must(['flows'])),
  )
})

t.test('egress of a NetworkPolicy, by its annotation', async (t) => {
  t.equal((await withYaml('apply', silent, 'silent.yaml')).code, 0)
  await until('in force', async () => (await shadow()).length === 2)
  t.equal(await answered('web'), connections)
  const [policy] = await shadow('silent')
  t.ok(policy?.rows.some((row) => row.port === 8080 && row.count === connections))
  t.match(policy?.rows, [{ source: { name: 'e2e/web' } }])
})

t.test('enforced, it refuses what it would have', async (t) => {
  t.equal((await withYaml('apply', onlyWeb('Enforce'))).code, 0)
  await until('in force', async () => (await answered('other')) === 0)
  t.equal(await answered('web'), connections)
  const gone = await pillion(['policy', 'shadow', 'only-web'])
  t.equal(gone.code, 1)
  t.match(gone.err, /no policy "only-web" is in Shadow mode.*NetworkPolicy e2e\/silent/)
})
