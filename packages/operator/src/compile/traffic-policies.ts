// SPDX-License-Identifier: Apache-2.0
// PURE: XBackendTrafficPolicy (GEP-3388) and XMesh (GEP-3949): which Service has which retry budget, and what is said of it.
import { keyOf, type ApiObject } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { byAge } from './parents.ts'
import { accepted, refused, type Condition } from './condition.ts'

type Policy = ApiObject<'XBackendTrafficPolicy'>
export type RetryConstraint = NonNullable<Policy['spec']['retryConstraint']>

export interface TrafficPolicies {
  /** By Service, "namespace/name". */
  readonly retryConstraints: ReadonlyMap<string, RetryConstraint>
  readonly conditions: ReadonlyMap<string, readonly Condition[]>
}

/** Our name in spec.controllerName of an XMesh. */
export const meshControllerName = 'mesh.pillion.dev/operator'

/** The older policy wins a Service, as for routes. */
export function compileTrafficPolicies(snapshot: Snapshot): TrafficPolicies {
  const owners = new Map<string, Policy>()
  const conditions = new Map<string, readonly Condition[]>()
  for (const policy of [...snapshot.XBackendTrafficPolicy.values()].sort(byAge))
    conditions.set(keyOf(policy), [claim(snapshot, policy, owners)])
  for (const mesh of snapshot.XMesh.values()) {
    const { controllerName, parametersRef } = mesh.spec
    if (controllerName !== meshControllerName) continue
    const message = 'spec.parametersRef is not used: the Mesh object has the settings'
    const verdict =
      parametersRef === undefined ? accepted : refused('InvalidParameters', message)
    conditions.set(keyOf(mesh), [verdict])
  }
  const retryConstraints = [...owners].flatMap(
    ([name, { spec }]): [string, RetryConstraint][] =>
      spec.retryConstraint === undefined ? [] : [[name, spec.retryConstraint]],
  )
  return { retryConstraints: new Map(retryConstraints), conditions }
}

function claim(
  snapshot: Snapshot,
  policy: Policy,
  owners: Map<string, Policy>,
): Condition {
  const { spec, metadata } = policy
  if (spec.sessionPersistence !== undefined)
    return refused('Invalid', 'spec.sessionPersistence is not supported')
  const services: string[] = []
  for (const [i, { group, kind, name }] of spec.targetRefs.entries()) {
    const at = `spec.targetRefs[${i}]`
    if ((group !== '' && group !== 'core') || kind !== 'Service')
      return refused('Invalid', `${at}: ${group}/${kind} is not supported, only Service`)
    const service = `${metadata.namespace}/${name}`
    if (!snapshot.Service.has(service))
      return refused('TargetNotFound', `${at}: Service ${service} does not exist`)
    const owner = owners.get(service)
    if (owner !== undefined)
      return refused(
        'Conflicted',
        `${at}: Service ${service} has XBackendTrafficPolicy ${owner.metadata.name}, which is older; delete one of them`,
      )
    services.push(service)
  }
  for (const service of services) owners.set(service, policy)
  return accepted
}

/**
 * What the mesh can do, by the names of the conformance suite (`Support…` without the word). Only what is carried out: a suite
 * that reads this runs the tests of these names.
 */
export const supportedFeatures: readonly string[] = [
  'GRPCRoute',
  'GRPCRouteNamedRouteRule',
  'GRPCRouteRequestHeaderModifier',
  'HTTPRoute',
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteBackendProtocolH2C',
  'HTTPRouteBackendProtocolWebSocket',
  'HTTPRouteBackendRequestHeaderModification',
  'HTTPRouteBackendRequestRedirect',
  'HTTPRouteBackendTimeout',
  'HTTPRouteBackendURLRewrite',
  'HTTPRouteCORS',
  'HTTPRouteHostRewrite',
  'HTTPRouteMethodMatching',
  'HTTPRouteNamedRouteRule',
  'HTTPRouteParentRefPort',
  'HTTPRoutePathRedirect',
  'HTTPRoutePathRewrite',
  'HTTPRoutePortRedirect',
  'HTTPRouteQueryParamMatching',
  'HTTPRouteRequestMirror',
  'HTTPRouteRequestMultipleMirrors',
  'HTTPRouteRequestPercentageMirror',
  'HTTPRouteRequestTimeout',
  'HTTPRouteResponseHeaderModification',
  'HTTPRouteRetry',
  'HTTPRouteRetryBackendTimeout',
  'HTTPRouteRetryConnectionError',
  'HTTPRouteSchemeRedirect',
  'Mesh',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
]
