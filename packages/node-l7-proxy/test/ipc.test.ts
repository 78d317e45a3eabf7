// SPDX-License-Identifier: Apache-2.0
import { emptyResources, type Resources } from '@pillion/contract'
import t from 'tap'
import { applyUpserts, deltaOf, goneFrom } from '../src/ipc.ts'
import { endpoint, service } from './support/resources.ts'

function upsert(
  ...resources: ReturnType<typeof service>[]
): Parameters<typeof applyUpserts>[1] {
  return resources.flatMap(({ name, body }) =>
    body === undefined ? [] : [[body.$case, name, body.value] as const],
  )
}

const first = applyUpserts(
  emptyResources(),
  upsert(service(1, 'web', 1), endpoint(1, 'web', 80)),
  [],
)

t.test(
  'a change goes over as a difference and comes out as the same resources',
  async (t) => {
    const second = applyUpserts(first.resources, upsert(endpoint(1, 'web', 81)), [
      ['endpoint', 'shop/web:80/TCP|127.0.0.1:80'],
    ])
    const { upserts, removals } = deltaOf(second.resources, second.changes)
    t.equal(upserts.length, 1)
    t.equal(removals.length, 1)
    const there: Resources = applyUpserts(first.resources, upserts, removals).resources
    t.strictSame(there, second.resources)
    t.equal(first.resources.endpoint.size, 1, 'the one before is untouched')
  },
)

t.test('a full configuration removes what it does not name', async (t) => {
  t.strictSame(goneFrom(first.resources, upsert(service(1, 'web', 1))), [
    ['endpoint', 'shop/web:80/TCP|127.0.0.1:80'],
  ])
})
