// SPDX-License-Identifier: Apache-2.0
// What people mean by POD, deploy/NAME and node/NAME. Pure.
import { LabError } from '../errors.ts'
import { deploymentOf } from '../manifest/expand.ts'
import type { PodRunner } from '../pod/runner.ts'

/** The pod: its name, deploy/NAME (a ready one first), or the beginning of exactly one name. Throws a LabError. */
export function findPod(
  runners: readonly PodRunner[],
  namespace: string,
  target: string,
): PodRunner {
  const here = runners.filter(
    ({ place: { pod } }) => pod.metadata.namespace === namespace,
  )
  const deployment = /^(?:deploy|deployments?(?:\.apps)?)\/(.+)$/.exec(target)?.[1]
  if (deployment !== undefined) {
    const mine = here
      .filter(({ place: { pod } }) => deploymentOf(pod) === deployment)
      .toSorted((a, b) => rank(a) - rank(b))
    if (mine[0] !== undefined) return mine[0]
    throw new LabError('not-found', `Deployment ${namespace}/${deployment} has no pod`)
  }
  const name = target.replace(/^pods?\//, '')
  const exact = here.find(({ place: { pod } }) => pod.metadata.name === name)
  if (exact !== undefined) return exact
  const prefixed = here.filter(({ place: { pod } }) => pod.metadata.name.startsWith(name))
  if (prefixed.length === 1 && prefixed[0] !== undefined) return prefixed[0]
  if (prefixed.length === 0) {
    throw new LabError('not-found', `there is no pod ${namespace}/${name}`)
  }
  const names = prefixed.map(({ place: { pod } }) => pod.metadata.name).join(', ')
  throw new LabError('ambiguous', `"${name}" is the beginning of several pods: ${names}`)
}

function rank(runner: PodRunner): number {
  if (runner.terminating) return 2
  return runner.ready ? 0 : 1
}
