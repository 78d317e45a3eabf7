// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Every line of the request corpus through the real proxy, on a connection of its own, before a backend that reads strictly.
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { startProxy } from '../support/proxy.ts'
import { converse, statuses } from '../support/raw-client.ts'
import { startRecorder } from '../support/recorder.ts'
import { endpoint, service } from '../support/resources.ts'
import { until } from '../support/wait.ts'
import { readCases } from '../support/wire-cases.ts'

const backend = await startRecorder()
const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
])
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})
const cases = readCases(new URL('data/http1-requests.txt', import.meta.url))

t.test('the corpus is as large as it claims', async (t) => {
  t.ok(cases.length >= 300, `${cases.length} cases`)
})

for (const { name, expected, bytes, body } of cases) {
  t.test(name, async (t) => {
    backend.reset()
    const plain = expected.replace('eof ', '')
    const wanted = plain === expected && plain !== '-' ? plain.split(' ').length : 0
    const { answers, junk, closed } = await converse(proxy.port, 1, bytes, wanted)
    const idle = async (): Promise<boolean> =>
      (await proxy.metric('pillion_active_requests')) === 0
    await until(idle, 'no request left')
    const got = {
      statuses: statuses(answers) || '-',
      junk,
      closed,
      // No request that nobody sees the answer of: that is what a smuggled one is.
      served: backend.requests.length,
      malformed: backend.violations,
    }
    const served = answers.filter(({ start }) => start.includes(' 200 ')).length
    t.strictSame(got, {
      ...{ statuses: plain, junk: '', closed: true, served, malformed: [] },
    })
    if (body !== '') t.equal(answers.at(-1)?.body, body)
  })
}

t.test('nothing crashed, nothing stayed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  t.equal(await proxy.metric('pillion_active_requests'), 0)
})
