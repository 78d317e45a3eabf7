// SPDX-License-Identifier: Apache-2.0
// Objects into an API server as `kubectl apply --server-side` puts them there.
import {
  KubeConfig,
  KubernetesObjectApi,
  PatchStrategy,
  type KubernetesObject,
} from '@kubernetes/client-node'

/** Applies objects with server-side apply, forced, as this field manager. */
export function serverSideApply(
  kubeconfig: string,
  manager: string,
): (object: object) => Promise<void> {
  const config = new KubeConfig()
  config.loadFromString(kubeconfig)
  const api = KubernetesObjectApi.makeApiClient(config)
  return async (object) => {
    await api.patch(
      object as KubernetesObject,
      ...([undefined, undefined, manager, true] as const),
      PatchStrategy.ServerSideApply,
    )
  }
}
