// SPDX-License-Identifier: Apache-2.0
// timeout: 240
// A limit of the whole cluster: the proxies of two nodes ask the service that counts, in a pod of one of them.
import { join } from 'node:path'
import t from 'tap'
import { must, pillion, shell, until } from '../support/lab.ts'

t.before(async () => {
  await pillion(['lab', 'down'])
  const directory = join(import.meta.dirname, 'limits')
  await must(['lab', 'up', directory, '--nodes', '2'], 120_000)
})
t.teardown(() => pillion(['lab', 'down']))

/** Status codes of `count` requests. */
async function codes(pod: string, url: string, count: number): Promise<string[]> {
  const call = `curl -s -o /dev/null -m 20 -w '%{http_code} ' ${url}`
  const { out } = await shell(pod, `for i in $(seq ${count}); do ${call}; done`)
  return out.split(' ')
}

t.test('clients on both nodes share a limit', async (t) => {
  await until('both ways are open', async () => {
    const [near] = await codes('near', 'api/ready-near', 1)
    const [far] = await codes('far', 'api/ready-far', 1)
    return near === '200' && far === '200'
  })
  t.strictSame(await codes('near', 'api/a', 3), ['200', '200', '200'])
  t.strictSame(await codes('far', 'api/a', 3), ['200', '200', '429'])
  t.strictSame(await codes('near', 'api/a', 1), ['429'])
  t.strictSame(await codes('near', 'api/b', 1), ['200'], 'another path')
})

t.test('without the service requests are refused, as declared', async () => {
  await must(['lab', 'delete', 'Pod/limits', '-n', 'e2e'])
  await until('nobody is asked', async () => {
    const [code] = await codes('near', 'api/c', 1)
    return code === '503'
  })
  await must(['lab', 'delete', 'Service/limits', '-n', 'e2e'])
  await until('the reference is said to be broken', async () => {
    const text = await must(['lab', 'get', 'L7Service', '-n', 'e2e', '-o', 'json'])
    return text.includes('Service e2e/limits does not exist; its requests get 503')
  })
})
