// SPDX-License-Identifier: Apache-2.0
// What the lab itself needs of pods and deployments, checked before anything is applied. Everything else is validated by
// the operator's own rules (validate.ts).
import { fieldValue, type PodFields } from './env.ts'
import type { Loaded } from './load.ts'
import {
  describe,
  type Container,
  type DeploymentObject,
  type PodSpec,
} from '../types.ts'

const noFields: PodFields = {
  name: '',
  namespace: '',
  uid: '',
  labels: {},
  annotations: {},
  nodeName: '',
  serviceAccountName: '',
  podIPs: [''],
  hostIP: '',
}

const dnsLabel = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

/** Problems of what the lab runs: "file: Kind ns/name: field: what is wrong". */
export function checkRunnable(
  loaded: readonly Loaded[],
  nodes: readonly string[],
): string[] {
  return loaded.flatMap(({ object, from }) => {
    const problems: string[] = []
    const bad = (field: string, what: string): void => {
      problems.push(`${from}: ${describe(object)}: ${field}: ${what}`)
    }
    // Names become file and namespace names on the host: never let a path in.
    const { name, namespace } = object.metadata
    if (!dnsLabel.test(name)) bad('metadata.name', `"${name}" is not a DNS name`)
    if (namespace !== undefined && !dnsLabel.test(namespace)) {
      bad('metadata.namespace', `"${namespace}" is not a DNS name`)
    }
    if (object.kind === 'Node') checkNode(name, nodes, bad)
    if (object.kind === 'Pod') checkPodSpec(object.spec, 'spec', nodes, bad)
    if (object.kind === 'Deployment')
      checkDeployment(object as DeploymentObject, nodes, bad)
    return problems
  })
}

type Bad = (field: string, what: string) => void

/** A Node manifest gives labels to a node that there is; it makes none. */
function checkNode(name: string, nodes: readonly string[], bad: Bad): void {
  if (nodes.includes(name)) return
  bad('metadata.name', `"${name}" is not a node of this lab (${nodes.join(', ')})`)
}

function checkDeployment(
  object: DeploymentObject,
  nodes: readonly string[],
  bad: Bad,
): void {
  const spec = object.spec as Partial<DeploymentObject['spec']> | undefined
  const replicas = spec?.replicas ?? 1
  if (!Number.isInteger(replicas) || replicas < 0) {
    bad('spec.replicas', `${String(replicas)} is not a count`)
  }
  const labels = spec?.template?.metadata?.labels ?? {}
  for (const [key, value] of Object.entries(spec?.selector?.matchLabels ?? {})) {
    if (labels[key] !== value) {
      bad(
        'spec.selector',
        `"${key}: ${value}" is not among the labels of the pod template`,
      )
    }
  }
  checkPodSpec(spec?.template?.spec, 'spec.template.spec', nodes, bad)
}

function checkPodSpec(
  value: unknown,
  at: string,
  nodes: readonly string[],
  bad: Bad,
): void {
  const spec = value as Partial<PodSpec> | undefined
  const container = spec?.containers?.[0]
  if (container === undefined) {
    bad(`${at}.containers`, 'the lab runs the first container; there is none')
    return
  }
  if (spec?.nodeName !== undefined && !nodes.includes(spec.nodeName)) {
    bad(
      `${at}.nodeName`,
      `"${spec.nodeName}" is not a node of this lab (${nodes.join(', ')})`,
    )
  }
  checkContainer(container, `${at}.containers[0]`, bad)
}

function checkContainer(container: Container, at: string, bad: Bad): void {
  const argv = [...(container.command ?? []), ...(container.args ?? [])]
  if (argv.length === 0) {
    bad(
      `${at}.command`,
      'missing; the lab has no images, so command or args must say what to run',
    )
  }
  if (!argv.every((argument) => typeof argument === 'string')) {
    bad(`${at}.command`, 'must be a list of strings (quote numbers)')
  }
  for (const [i, variable] of (container.env ?? []).entries()) {
    const { name, value, valueFrom } = variable
    if (value !== undefined && typeof value !== 'string') {
      bad(`${at}.env[${i}].value`, `value of ${name} must be a string (quote it)`)
    }
    if (valueFrom === undefined) continue
    const path = valueFrom.fieldRef?.fieldPath
    if (path === undefined)
      bad(`${at}.env[${i}].valueFrom`, 'the lab knows only fieldRef')
    else if (fieldValue(path, noFields) === undefined) {
      bad(`${at}.env[${i}].valueFrom.fieldRef`, `unknown field path "${path}"`)
    }
  }
  const probe = container.readinessProbe
  if (probe === undefined) return
  const forms = [probe.httpGet, probe.tcpSocket, probe.exec].filter(
    (form) => form !== undefined,
  )
  if (forms.length !== 1) {
    bad(`${at}.readinessProbe`, 'must have exactly one of httpGet, tcpSocket, exec')
  }
}
