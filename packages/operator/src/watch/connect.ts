// SPDX-License-Identifier: Apache-2.0
// A client for those outside of the operator (the lab).
import { messageOf, OperatorError } from '../errors.ts'
import { ApiClient } from './client.ts'

/** A client by a kubeconfig file. Throws an OperatorError `SOURCE` that names the file. */
export async function connectApi(kubeconfig: string): Promise<ApiClient> {
  // Loaded when asked for: half a second that the command line must not pay each time.
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  try {
    config.loadFromFile(kubeconfig)
    if (config.getCurrentCluster() === null) throw new TypeError('it names no cluster')
  } catch (error) {
    throw new OperatorError('SOURCE', `${kubeconfig}: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return new ApiClient(config)
}
