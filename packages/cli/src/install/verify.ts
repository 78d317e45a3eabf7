// SPDX-License-Identifier: Apache-2.0
// The proof that nothing is left on a node: `pillion-agent --uninstall` once more, in a pod of its own. It fails when something
// of ours stays, and prints what it removed: on a clean node that is nothing.
import type { Installation } from '../cluster/connect.ts'
import {
  collection,
  listPath,
  until,
  isMissing,
  type ApiObject,
} from '../cluster/objects.ts'
import type { Pod } from '../cluster/pods.ts'
import { serviceAccounts } from '../cluster/pods.ts'
import { messageOf } from '@pillion/lab'
import { CliError } from '../errors.ts'

export interface Proof {
  readonly node: string
  readonly clean: boolean
  /** What was found there, or why nothing is known. */
  readonly detail: string
}

interface Template {
  readonly containers: readonly Json[]
  readonly initContainers?: readonly Json[]
  readonly volumes?: readonly Json[]
  readonly [field: string]: unknown
}
type Json = Readonly<Record<string, unknown>>

/** What is needed of an installation while it is still there. */
export interface Verifier {
  readonly template: Template
  readonly nodes: readonly string[]
}

/** The DaemonSet's template and the nodes that have a pod of it. Undefined when there is no DaemonSet. */
export async function prepareVerifier(
  { cluster, namespace }: Installation,
  pods: readonly Pod[],
): Promise<Verifier | undefined> {
  const sets = await listPath(cluster, collection('apps/v1', 'daemonsets', namespace))
  const templates = sets.map(
    ({ spec }) => (spec?.['template'] as { spec: Template }).spec,
  )
  const template = templates.find(
    (each) => each['serviceAccountName'] === serviceAccounts.node,
  )
  if (template === undefined) return undefined
  const nodes = pods.flatMap(({ spec }) => spec.nodeName ?? []).sort()
  return { template, nodes: [...new Set(nodes)] }
}

/** The pod that proves one node. Pure. Throws a CliError when the template runs no agent. */
export function verifyPod(
  { template }: Verifier,
  node: string,
  namespace: string,
): ApiObject {
  const all = [...template.containers, ...(template.initContainers ?? [])]
  const agent = all.find(({ name }) => name === 'agent' || name === 'uninstall')
  if (agent === undefined)
    throw new CliError('failed', 'the DaemonSet of the nodes runs no agent')
  // Configuration of the mesh is gone by now: only directories of the host.
  const volumes = (template.volumes ?? []).filter((volume) => 'hostPath' in volume)
  const present = new Set(volumes.map(({ name }) => name))
  const mounts = ((agent['volumeMounts'] ?? []) as Json[]).filter(({ name }) =>
    present.has(name),
  )
  const places = ((agent['args'] ?? []) as string[]).filter((word) =>
    /^--(pin-dir|cgroup-root|state-dir)=/.test(word),
  )
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `pillion-verify-${node}`.slice(0, 253),
      namespace,
      labels: { 'app.kubernetes.io/name': 'pillion-verify' },
    },
    spec: {
      nodeName: node,
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      tolerations: [{ operator: 'Exists' }],
      hostNetwork: template['hostNetwork'] ?? false,
      volumes,
      containers: [
        {
          name: 'verify',
          image: agent['image'],
          ...(agent['command'] === undefined ? {} : { command: agent['command'] }),
          args: ['--uninstall', ...places],
          securityContext: agent['securityContext'],
          volumeMounts: mounts,
        },
      ],
    },
  }
}

/** Runs the pod of one node and removes it. Never throws: what cannot be proved is not clean. */
export async function proveNode(
  installation: Installation,
  verifier: Verifier,
  node: string,
  timeoutMs: number,
): Promise<Proof> {
  const { cluster, namespace } = installation
  const pods = collection('v1', 'pods', namespace)
  try {
    const pod = verifyPod(verifier, node, namespace)
    const path = `${pods}/${pod.metadata.name}`
    const remove = () =>
      cluster.client.request({ method: 'DELETE', path }).catch((error: unknown) => {
        if (!isMissing(error)) throw error
      })
    await remove()
    await cluster.client.request({ method: 'POST', path: pods, body: pod })
    let phase = ''
    const ended = await until(
      timeoutMs,
      async () => {
        const { status } = await cluster.client.request<Pod>({ path })
        phase = status?.phase ?? 'Pending'
        return phase === 'Succeeded' || phase === 'Failed' ? phase : undefined
      },
      () => `the pod is ${phase}`,
    )
    const log = await cluster.client.text({ path: `${path}/log` })
    await remove()
    return proofOf(node, ended, log)
  } catch (error) {
    return { node, clean: false, detail: messageOf(error) }
  }
}

/** What the end of the pod proves. Pure. */
export function proofOf(node: string, phase: string, log: string): Proof {
  const lines = log.split('\n').filter((line) => line !== '')
  const removed = lines.filter((line) => line.startsWith('removed '))
  if (phase !== 'Succeeded')
    return { node, clean: false, detail: lines.at(-1) ?? 'the agent printed nothing' }
  if (removed.length > 0)
    return {
      node,
      clean: false,
      detail: `was left, and is removed now: ${removed.join('; ')}`,
    }
  const proof = lines.find((line) => line.startsWith('clean: '))
  return {
    node,
    clean: proof !== undefined,
    detail: proof ?? 'the agent did not say that the node is clean',
  }
}
