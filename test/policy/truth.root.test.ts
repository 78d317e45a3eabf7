// SPDX-License-Identifier: Apache-2.0
// timeout: 900
// The cases of cyclonus.test.ts once more, in a running cluster: real objects, real sockets, the verdicts of the kernel. A denied
// connection fails at once by EPERM, so a table of nine pods by address, service and name takes a fraction of a second.
import t from 'tap'
import { Cluster, ninePods, type Desired, type Pod } from './support/cluster.ts'
import { readCases, type Step } from './support/cyclonus.ts'
import { probe } from './support/table.ts'

const namespaces = Object.fromEntries(['x', 'y', 'z'].map((name) => [name, { ns: name }]))

/** The generator's z has 192.168.3.0/24, ours has the pod range of node-2; its exception holds all of z in both. */
function translated(policies: Step['Policies']): Desired['policies'] {
  const text = JSON.stringify(policies ?? []).replaceAll('192.168.3.0/', '10.244.2.0/')
  const kind = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' }
  return (JSON.parse(text) as Desired['policies']).map((one) => ({ ...one, ...kind }))
}

/** Some pod may not ask the DNS server. */
function silent({ Policies }: Step): boolean {
  return (Policies ?? []).some(({ spec }) => {
    const { policyTypes = [], egress = [] } = spec as {
      policyTypes?: string[]
      egress?: object[] | null
    }
    return policyTypes.includes('Egress') && !JSON.stringify(egress).includes('"port":53')
  })
}

function desired({ Namespaces, Pods, Policies }: Step): Desired {
  return {
    namespaces: Namespaces,
    pods: Pods.map(({ Ns: namespace, Name: name, Labels: labels }) => ({
      ...{ namespace, name, labels },
    })),
    policies: translated(Policies),
  }
}

/** The independent engine does not know the label that the API server gives each namespace; upstream.root.test.ts asks for it. */
const unknownLabel = 'namespaces-by-default-label'
const cases = readCases().filter(({ Tags }) => !Tags.includes(unknownLabel))
const cluster = await Cluster.up({ namespaces, pods: ninePods, policies: [] })
t.teardown(() => cluster.down())

t.test('every verdict of every step', async (t) => {
  const sum = { verdicts: 0, denied: 0, unresolved: 0, wrong: 0, steps: 0 }
  for (const { Description, Steps } of cases) {
    for (const [n, step] of Steps.entries()) {
      await cluster.apply(desired(step))
      const at = ({ namespace, name }: Pod): number =>
        step.Pods.findIndex(({ Ns, Name }) => Ns === namespace && Name === name)
      const { verdicts, denied, unresolved, wrong } = await probe(
        cluster,
        (from, to, protocol, port) =>
          step.Expect[`${protocol}/${port}`]?.[at(from) * step.Pods.length + at(to)] ===
          '.',
        JSON.stringify(step.Policies).includes('ipBlock') ? 'IPv4' : 'both',
      )
      sum.steps++
      sum.verdicts += verdicts
      sum.denied += denied
      sum.unresolved += unresolved
      sum.wrong += wrong.length
      if (!silent(step)) t.equal(unresolved, 0, `${Description}, step ${n + 1}: DNS`)
      t.same(wrong.slice(0, 5), [], `${Description}, step ${n + 1}`)
    }
  }
  const equal = sum.verdicts - sum.wrong
  t.comment(
    `${cases.length} cases, ${sum.steps} steps: ${equal} of ${sum.verdicts} verdicts equal, ` +
      `${sum.denied} denied; ${sum.unresolved} by a name that could not be asked for`,
  )
  t.ok(sum.denied > 1000 && sum.verdicts - sum.denied > 1000)
})
