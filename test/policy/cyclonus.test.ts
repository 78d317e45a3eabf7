// SPDX-License-Identifier: Apache-2.0
// 230 NetworkPolicy cases with the verdicts of an independent engine, through all that decides here: the operator's compile, the
// agent's plan, and the evaluation that packages/ebpf-l4/test/evaluate-kernel.root.test.ts holds against the kernel's.
import { Role } from '../../packages/contract/src/index.ts'
import { initialState, judgeBoth, plan } from '../../packages/ebpf-l4/src/index.ts'
import {
  objectKey,
  parseObject,
  type ApiKind,
  type ApiObject,
} from '../../packages/operator/src/api/object.ts'
import {
  compile,
  emptyPools,
  type Compiled,
} from '../../packages/operator/src/compile/compile.ts'
import { ObjectIndex } from '../../packages/operator/src/index/objects.ts'
import { viewOf } from '../../packages/operator/src/publish/views.ts'
import t from 'tap'
import { readCases, type Step } from './support/cyclonus.ts'

const cases = readCases()

const protocols: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 }
const context = {
  node: 'node-1',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [],
  proxyCgroupId: undefined,
}

function object(kind: ApiKind, apiVersion: string, raw: object): ApiObject {
  const { object: parsed, errors } = parseObject(
    kind,
    { ...raw, apiVersion, kind } as Parameters<typeof parseObject>[1],
    'cyclonus',
  )
  if (parsed === undefined) throw new Error(JSON.stringify(errors))
  return parsed
}

/** The pods of the generator serve every protocol on both ports, by name. */
const ports = [80, 81].flatMap((containerPort) =>
  Object.keys(protocols).map((protocol) => ({
    name: `serve-${containerPort}-${protocol.toLowerCase()}`,
    containerPort,
    protocol,
  })),
)

function objectsOf(step: Step): Map<string, ApiObject> {
  const objects = [
    ...Object.entries(step.Namespaces).map(([name, labels]) =>
      object('Namespace', 'v1', { metadata: { name, labels } }),
    ),
    ...step.Pods.map(({ Ns: namespace, Name: name, IP: ip, Labels: labels }) =>
      object('Pod', 'v1', {
        metadata: { name, namespace, labels, uid: `${namespace}-${name}` },
        spec: { nodeName: 'node-1', containers: [{ ports }] },
        status: { phase: 'Running', podIPs: [{ ip }] },
      }),
    ),
    ...(step.Policies ?? []).map((policy) =>
      object('NetworkPolicy', 'networking.k8s.io/v1', policy),
    ),
  ]
  return new Map(
    objects.map((one) => [
      objectKey(one.kind, one.metadata.namespace, one.metadata.name),
      one,
    ]),
  )
}

t.test('every verdict of every step', async (t) => {
  const index = new ObjectIndex()
  let held = new Map<string, ApiObject>()
  let compiled: Compiled | undefined
  let verdicts = 0
  const seen: Record<string, number> = { TCP: 0, UDP: 0, SCTP: 0 }
  for (const { Description, Steps } of cases) {
    for (const [n, step] of Steps.entries()) {
      // One cluster for all cases: what one leaves behind would show in the next.
      const objects = objectsOf(step)
      const removals = [...held.keys()].filter((key) => !objects.has(key))
      const dirty = index.apply({ upserts: [...objects.values()], removals, errors: [] })
      held = objects
      compiled = compile(
        index.snapshot(),
        compiled?.pools ?? emptyPools(),
        compiled,
        dirty,
      )
      const { tables } = plan(
        viewOf(compiled, 'node-1', Role.AGENT),
        context,
        initialState(),
      )
      const { facts } = compiled.workloads
      const identities = step.Pods.map(
        ({ Ns, Name }) => facts.get(`${Ns}/${Name}`)?.identity ?? 0,
      )
      for (const [what, expected] of Object.entries(step.Expect)) {
        const [protocol = '', port = ''] = what.split('/')
        const got = identities.flatMap((src) =>
          identities.map((dst) =>
            judgeBoth(tables, src, dst, protocols[protocol] ?? 0, Number(port)).allowed
              ? '.'
              : 'X',
          ),
        )
        verdicts += got.length
        seen[protocol] = (seen[protocol] ?? 0) + got.length
        if (got.join('') !== expected)
          t.equal(got.join(''), expected, `${Description}, step ${n + 1}, ${what}`)
      }
    }
  }
  t.equal((seen['TCP'] ?? 0) + (seen['UDP'] ?? 0), 83_256)
  t.comment(`${verdicts} verdicts`)
})
