// SPDX-License-Identifier: Apache-2.0
// Which cluster a command is about: the options, and the connection for as long as the command runs.
import { connectCluster, defaultKubeconfigs, type Cluster } from '@pillion/operator'
import type { Command } from 'commander'

/** Where `manifests/default` installs. */
export const defaultNamespace = 'pillion-system'

export interface ClusterFlags {
  readonly kubeconfig?: string
  readonly context?: string
}

/** The installation in a cluster. */
export interface Installation {
  readonly cluster: Cluster
  /** Namespace of operator and nodes. */
  readonly namespace: string
}

export function clusterOptions(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'kubeconfig file; default $KUBECONFIG, ~/.kube/config')
    .option('--context <name>', 'context of the kubeconfig; default its current one')
}

export function namespaceOption(command: Command): Command {
  return command.option(
    '-n, --namespace <name>',
    'namespace of the installation',
    defaultNamespace,
  )
}

/** True when a cluster is meant, or can be meant: an option names it, or there is a kubeconfig. */
export function namesCluster({ kubeconfig, context }: ClusterFlags): boolean {
  return kubeconfig !== undefined || context !== undefined
}

export function hasDefaultCluster(): boolean {
  return defaultKubeconfigs(process.env).length > 0
}

/** Runs with a connection, which is closed afterwards. */
export async function withCluster<T>(
  { kubeconfig, context }: ClusterFlags,
  run: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const cluster = await connectCluster({
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  })
  try {
    return await run(cluster)
  } finally {
    cluster.close()
  }
}
