// SPDX-License-Identifier: Apache-2.0
// The last good stays in force, and one bad object or file blocks no other.
import t from 'tap'
import { formatError } from '../../src/api/object.ts'
import { Files } from '../../src/watch/files.ts'

const service = (name: string, port: number | string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: a}\nspec: {ports: [{port: ${port}}]}\n`

const one = (path: string, text: string | undefined): Map<string, string | undefined> =>
  new Map([[path, text]])

const ports = (change: ReturnType<Files['update']>): unknown[] =>
  change.upserts.map((object) => [
    object.metadata.name,
    object.kind === 'Service' ? object.spec.ports[0]?.port : undefined,
    object.metadata.generation,
  ])

t.test(
  'an invalid object keeps its last good version; others in the file go on',
  async (t) => {
    const files = new Files()
    t.same(ports(files.update(one('f', `${service('x', 1)}---\n${service('y', 1)}`))), [
      ['x', 1, 1],
      ['y', 1, 1],
    ])
    const bad = files.update(one('f', `${service('x', 'none!')}---\n${service('y', 2)}`))
    t.same(ports(bad), [['y', 2, 2]])
    t.same(bad.removals, [])
    t.equal(bad.errors.length, 1)
    t.match(bad.errors.map(formatError), [/^f: Service a\/x: spec\.ports\[0\]\.port: /])
    const good = files.update(one('f', `${service('x', 3)}---\n${service('y', 2)}`))
    t.same(ports(good), [['x', 3, 2]])
    t.same(good.errors, [])
  },
)

t.test('an object that never was valid is reported and nothing else', async (t) => {
  const change = new Files().update(one('f', service('x', 0)))
  t.same([change.upserts, change.removals, change.errors.length], [[], [], 1])
})

t.test('a document that cannot be read takes nothing away', async (t) => {
  const files = new Files()
  files.update(one('f', `${service('x', 1)}---\n${service('y', 1)}`))
  const change = files.update(one('f', `${service('x', 2)}---\nkind: [`))
  t.same(ports(change), [['x', 2, 2]])
  t.same(change.removals, [])
  t.equal(change.errors.length, 1)
  t.same(files.update(one('f', service('x', 2))).removals, ['Service/a/y'])
})

t.test('a file that goes takes its objects along, and its errors', async (t) => {
  const files = new Files()
  files.update(one('f', `${service('x', 1)}---\n${service('y', 'bad!')}`))
  const change = files.update(one('f', undefined))
  t.same([change.removals, change.errors], [['Service/a/x'], []])
})

t.test(
  'one object in two files: the first path wins, the other takes over',
  async (t) => {
    const files = new Files()
    files.update(one('b', service('x', 2)))
    const both = files.update(one('a', service('x', 1)))
    t.same(ports(both), [['x', 1, 2]])
    t.same(both.errors.map(formatError), ['b: Service a/x: is also in a, which wins'])
    const after = files.update(one('a', undefined))
    t.same(ports(after), [['x', 2, 3]])
    t.same([after.removals, after.errors], [[], []])
  },
)

t.test('what did not change is not reported, also when the text did', async (t) => {
  const files = new Files()
  files.update(one('f', service('x', 1)))
  t.same(files.update(one('f', `# a comment\n${service('x', 1)}`)).upserts, [])
})

t.test('an object that moves to another file in one batch is never gone', async (t) => {
  const files = new Files()
  files.update(one('a', service('x', 1)))
  const change = files.update(
    new Map([
      ['a', undefined],
      ['b', service('x', 1)],
    ]),
  )
  t.same([change.upserts, change.removals], [[], []])
})
