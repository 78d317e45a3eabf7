// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { lacking, verdictsIn, verdictsOf, type Condition } from '../src/conditions.ts'

const condition = (type: string, status: string, observedGeneration = 2): Condition => ({
  ...{ type, status, reason: `${type}Reason`, message: `${type} text` },
  observedGeneration,
})
const accepted = condition('Accepted', 'True')
const programmed = condition('Programmed', 'True')
const refused = condition('Accepted', 'False')

const route = (...parents: { controllerName?: string; conditions: Condition[] }[]) => ({
  metadata: { name: 'r', generation: 2 },
  status: {
    parents: parents.map((each) => ({
      controllerName: 'mesh.pillion.dev/operator',
      ...each,
    })),
  },
})

t.test('a route holds when every parent does', async (t) => {
  const good = { conditions: [accepted, programmed] }
  const of = (...parents: Parameters<typeof route>) =>
    lacking(verdictsOf(route(...parents)), 'Programmed')
  t.equal(of(good), '')
  t.equal(
    of(good, { conditions: [refused] }),
    'Accepted is False, AcceptedReason: Accepted text',
  )
  t.match(
    of(good, { conditions: [accepted] }),
    /nobody has said anything about Programmed/,
  )
  const stranger = { controllerName: 'example.org/other', conditions: [refused] }
  t.equal(of(good, stranger), '', 'what others say is not asked')
  t.match(of(stranger), /nobody has said anything/)
  const old = condition('Programmed', 'True', 1)
  t.match(of({ conditions: [old] }), /nobody/, 'an older generation')
})

t.test('other objects have one verdict, also without a status', async (t) => {
  const metadata = { name: 'x', generation: 2 }
  const of = (status: object) =>
    lacking(verdictsOf({ metadata, status: { ...status } }), 'Programmed')
  t.match(of({}), /nobody/)
  t.equal(of({ conditions: [accepted, programmed] }), '')
  t.equal(
    of({ conditions: [accepted, condition('Programmed', 'False')] }),
    'ProgrammedReason: Programmed text',
  )
})

t.test('as the operator has it', async (t) => {
  const status = {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name: 'r',
    observedGeneration: 2,
  }
  const parentRef = { group: '', kind: 'Service', name: 'web' }
  const parents = [{ parentRef, conditions: [] }]
  t.equal(verdictsIn({ ...status, conditions: [], parents }).length, 1)
  t.equal(verdictsIn({ ...status, conditions: [], parents: [] }).length, 1)
})
