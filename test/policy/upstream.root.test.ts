// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// The behaviours that Kubernetes' own NetworkPolicy tests name (test/e2e/network/netpol/network_policy.go), each with the whole truth
// table, every one with TCP and UDP: what they test by TCP alone must not differ by UDP where no port or protocol is named. Their
// default-deny-ingress by UDP and by SCTP is the first one here.
import t from 'tap'
import { nameOf, type Behaviour, type Stage } from './support/behaviour.ts'
import { Cluster, ninePods, type Desired } from './support/cluster.ts'
import { probe } from './support/table.ts'
import { egress } from './support/upstream-egress.ts'
import { ingress } from './support/upstream-ingress.ts'

const namespaces = Object.fromEntries(['x', 'y', 'z'].map((name) => [name, { ns: name }]))
const cluster = await Cluster.up({ namespaces, pods: ninePods, policies: [] })
t.teardown(() => cluster.down())

function desired({ policies, labels = {} }: Stage): Desired {
  return {
    namespaces: Object.fromEntries(
      Object.entries(namespaces).map(([name, own]) => [
        name,
        { ...own, ...labels[name] },
      ]),
    ),
    pods: ninePods.map((pod) => ({
      ...pod,
      labels: { ...pod.labels, ...labels[`${pod.namespace}/${pod.name}`] },
    })),
    policies: typeof policies === 'function' ? policies(cluster) : policies,
  }
}

const sum = { verdicts: 0, denied: 0 }
const behaviours: readonly Behaviour[] = [...ingress, ...egress]
for (const { name, stages } of behaviours) {
  t.test(name, async (t) => {
    for (const [n, stage] of stages.entries()) {
      const wanted = desired(stage)
      await cluster.apply(wanted)
      const hasBlock = JSON.stringify(wanted.policies).includes('ipBlock')
      const { verdicts, denied, wrong } = await probe(
        cluster,
        (from, to, protocol, port) =>
          stage.allowed({ from: nameOf(from), to: nameOf(to), protocol, port }),
        hasBlock ? 'IPv4' : 'both',
      )
      t.same(wrong.slice(0, 5), [], `stage ${n + 1}`)
      sum.verdicts += verdicts
      sum.denied += denied
    }
  })
}

t.test('what was asked', (t) => {
  t.comment(
    `${behaviours.length} behaviours, ${sum.verdicts} verdicts, ${sum.denied} denied`,
  )
  t.ok(sum.denied > 1000 && sum.verdicts - sum.denied > 1000)
  t.end()
})
