// SPDX-License-Identifier: Apache-2.0
// Elections on API servers: one leads, another takes over, and never do two.
import pino from 'pino'
import t, { type Test } from 'tap'
import { apiServers } from '../../../../test/support/apiserver/index.ts'
import { Elector } from '../../src/ha/elector.ts'
import { clusterOf, type Cluster, type Line } from '../support/cluster.ts'
import { until } from '../support/running.ts'

interface Candidate {
  readonly elector: Elector
  readonly line: Line
  /** What it was told, in order. */
  readonly told: boolean[]
}

async function candidate(
  t: Test,
  cluster: Cluster,
  identity: string,
): Promise<Candidate> {
  const { line, client } = await cluster.line()
  const told: boolean[] = []
  const elector = new Elector({
    ...{ client, identity, namespace: 'default', name: 'pillion-operator' },
    ...{ durationMs: 1_000, renewDeadlineMs: 600, retryMs: 50 },
    onLead: (isLeader) => told.push(isLeader),
    log: pino({ level: 'silent' }),
  })
  t.teardown(() => elector.close())
  elector.start()
  return { elector, line, told }
}

const lease = async (cluster: Cluster): Promise<Record<string, unknown>> => {
  const path = '/apis/coordination.k8s.io/v1/namespaces/default/leases/pillion-operator'
  return (await cluster.admin.get(path)).body['spec'] as Record<string, unknown>
}

for (const { name, start } of apiServers()) {
  t.test(`${name}: one leads; given up, another takes it at once`, async (t) => {
    const cluster = await clusterOf(t, await start(), [])
    const a = await candidate(t, cluster, 'a')
    await until('a leads', () => a.elector.isLeader)
    const b = await candidate(t, cluster, 'b')
    await until('b has seen who leads', () => b.elector.holder === 'a')
    t.notOk(b.elector.isLeader)
    t.match(await lease(cluster), { holderIdentity: 'a', leaseTransitions: 0 })
    await a.elector.close()
    t.same(a.told, [true, false])
    await until('b leads', () => b.elector.isLeader)
    t.match(await lease(cluster), { holderIdentity: 'b', leaseTransitions: 1 })
  })

  t.test(`${name}: who is cut off stops before another begins`, async (t) => {
    const cluster = await clusterOf(t, await start(), [])
    const a = await candidate(t, cluster, 'a')
    await until('a leads', () => a.elector.isLeader)
    const b = await candidate(t, cluster, 'b')
    await until('b has seen who leads', () => b.elector.holder === 'a')
    a.line.cut()
    let both = false
    await until('b leads', () => {
      both ||= a.elector.isLeader && b.elector.isLeader
      return b.elector.isLeader
    })
    t.notOk(both, 'never two')
    t.same(a.told, [true, false])
    a.line.heal()
    await until('a sees it', () => a.elector.holder === 'b')
    t.notOk(a.elector.isLeader)
  })
}
