// SPDX-License-Identifier: Apache-2.0
// timeout: 240
// Rules for requests: the proxy lets through what they allow, on both nodes, and the kernel lets nobody go around the proxy.
import { join } from 'node:path'
import t from 'tap'
import { must, pillion, shell, until } from '../support/lab.ts'

t.before(async () => {
  await pillion(['lab', 'down'])
  await must(
    ['lab', 'up', join(import.meta.dirname, 'requests'), '--nodes', '2'],
    120_000,
  )
})
t.teardown(() => pillion(['lab', 'down']))

const requests = 6

/** Status codes of some requests, each over a connection of its own; 000 is no connection. */
async function codes(pod: string, url: string, more = ''): Promise<string[]> {
  const call = `curl -s -o /dev/null -m 3 -w '%{http_code} ' ${more} ${url}`
  const loop = `for i in $(seq ${requests}); do ${call}; done`
  return [...new Set((await shell(pod, loop)).out.split(' '))]
}

async function addressOf(pod: string): Promise<string> {
  const text = await must(['lab', 'get', 'Pod', '-n', 'e2e', '-o', 'json'])
  const found = JSON.parse(text) as unknown
  const pods = (Array.isArray(found) ? found : (found as { items: unknown[] }).items) as {
    metadata: { name: string }
    status: { podIP: string }
  }[]
  return pods.find(({ metadata }) => metadata.name === pod)?.status.podIP ?? ''
}

t.test('what a rule allows goes to both nodes', async (t) => {
  await until(
    'policy in force',
    async () => (await codes('other', 'api/public'))[0] === '403',
  )
  t.strictSame(await codes('web', 'api/public/x'), ['200'])
  t.strictSame(await codes('web', 'api/x/..//public', '--path-as-is'), ['200'])
})

t.test('other requests, other callers', async (t) => {
  t.strictSame(await codes('web', 'api/secret'), ['403'])
  t.strictSame(await codes('web', 'api/public/../secret', '--path-as-is'), ['403'])
  t.strictSame(await codes('web', 'api/public', '-X POST -d x'), ['403'])
  t.strictSame(await codes('other', 'api/public'), ['403'])
})

t.test('explain and config policies say the same', async (t) => {
  const ask = (...more: string[]) => must(['explain', 'e2e/web', 'e2e/api:80', ...more])
  t.match(
    await ask(),
    /allowed, carried by the proxy[^]*GET \/public\* +AccessPolicy e2e\/api/,
  )
  t.match(await ask('--path', '/public/x'), /GET \/public\/x goes on to the endpoint/)
  t.match(await ask('--path', '/public/../secret'), /403 REQUEST_DENIED/)
  const other = await must(['explain', 'e2e/other', 'e2e/api:80'])
  t.match(other, /denied: the proxy answers 403[^]*none is about this caller/)
  t.match(
    await must(['config', 'policies', 'node-1']),
    /requests +allow +e2e\/web \(\d+\) +8080\/TCP +GET \/public\*/,
  )
})

t.test('nobody goes around the proxy', async (t) => {
  for (const pod of ['api-1', 'api-2']) {
    const address = await addressOf(pod)
    t.match(address, /^\d/)
    t.strictSame(await codes('web', `${address}:8080/public`), ['000'], pod)
  }
  t.strictSame(
    await codes('web', 'plain/public'),
    ['000'],
    'a service that is not declared',
  )
})
