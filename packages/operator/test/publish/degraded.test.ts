// SPDX-License-Identifier: Apache-2.0
// What a node's process says that it lacks reaches the status of the Mesh, over the wire.
import { Role, subscribe } from '@pillion/contract'
import t from 'tap'
import { Fixture } from '../support/running.ts'

interface Status {
  readonly nodes: readonly { node: string; role: string; degraded?: string[] }[]
  readonly objects: readonly {
    kind: string
    conditions: readonly { type: string; status: string; message: string }[]
  }[]
}

t.test('from the hello of an agent to a condition', async (t) => {
  const fixture = new Fixture(t)
  const node = (name: string): string =>
    `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\n`
  fixture.write('nodes.yaml', `${node('node-1')}---\n${node('node-2')}`)
  fixture.write(
    'mesh.yaml',
    'apiVersion: mesh.pillion.dev/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec: {}\n',
  )
  await fixture.start()
  const lacking = 'acceleration-auto: CAP_SYS_PTRACE is missing'
  const open = (degraded?: string[]) => {
    const options = { address: fixture.address, node: 'node-1', role: Role.AGENT }
    const extra = degraded === undefined ? {} : { degraded }
    return subscribe({ ...options, ...extra, onUpdate: () => undefined })
  }
  const conditionOf = ({ objects }: Status) =>
    objects
      .find(({ kind }) => kind === 'Mesh')
      ?.conditions.find(({ type }) => type === 'Degraded')
  const many = Array.from({ length: 40 }, (_, i) => `feature-${i}: ${'x'.repeat(2_000)}`)
  const agent = open([lacking, ...many])
  t.teardown(() => agent.close())
  const status = await fixture.status<Status>('degraded', (now) => {
    return conditionOf(now)?.status === 'True'
  })
  t.ok(conditionOf(status)?.message.includes(`${lacking} (on 1 of 2 nodes: node-1)`))
  const kept = status.nodes.find(({ role }) => role === 'agent')?.degraded ?? []
  t.equal(kept.length, 16, 'a node cannot fill the memory of the operator')
  t.ok(kept.every((text) => text.length <= 512))

  await agent.close()
  const better = open()
  t.teardown(() => better.close())
  await fixture.status<Status>('well', (now) => conditionOf(now)?.status === 'False')
})
