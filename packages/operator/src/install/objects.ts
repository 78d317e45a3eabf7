// SPDX-License-Identifier: Apache-2.0
// PURE: what a Mesh needs on its nodes, as objects of the API.
import { createHash } from 'node:crypto'
import { tokenAudience } from '../publish/token-review.ts'
import { agentContainer, proxyContainer, removalContainers } from './containers.ts'
import {
  finalizer,
  graceSeconds,
  nodeLabels,
  nodeName,
  nodeServiceAccount,
  paths,
  ports,
  proxyUid,
  revisionAnnotation,
} from './names.ts'

export type Json = Readonly<Record<string, unknown>>

export interface Manifest extends Json {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: Json & { readonly name: string; readonly namespace?: string }
}

type Quantities = {
  readonly cpu?: string | undefined
  readonly memory?: string | undefined
}
export type Resources = {
  readonly requests?: Quantities | undefined
  readonly limits?: Quantities | undefined
}

/** `spec` of a Mesh, as far as it is about the installation. */
export interface MeshInstall {
  readonly images?:
    | { readonly agent?: string | undefined; readonly proxy?: string | undefined }
    | undefined
  readonly resources?:
    | { readonly agent?: Resources | undefined; readonly proxy?: Resources | undefined }
    | undefined
  readonly nodeSelector?: Readonly<Record<string, string>> | undefined
  /** As in the CRD: absent is Auto. */
  readonly acceleration?: 'Off' | 'On' | 'Auto' | undefined
}

export interface InstallOptions {
  readonly namespace: string
  /** Images of nodes whose Mesh names none. */
  readonly agentImage: string
  readonly proxyImage: string
  /** The pods take the datapath away instead of running it. */
  readonly isRemoval: boolean
}

/**
 * The DaemonSet of the nodes. Its pods are replaced by us, one at a time (`OnDelete`). It has no owner: with one, a foreground
 * deletion of the Mesh would take the pods away before they have cleaned their nodes.
 */
export function nodeDaemonSet(spec: MeshInstall, options: InstallOptions): Manifest {
  const template = podTemplate(spec, options)
  const revision = revisionOf(template)
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: {
      name: nodeName,
      namespace: options.namespace,
      labels: nodeLabels,
      annotations: { [revisionAnnotation]: revision },
    },
    spec: {
      selector: { matchLabels: { 'app.kubernetes.io/name': nodeName } },
      updateStrategy: { type: 'OnDelete' },
      template: {
        metadata: { labels: nodeLabels, annotations: { [revisionAnnotation]: revision } },
        spec: template,
      },
    },
  }
}

/** Same template, same revision: going back to an earlier one finds its pods up to date. */
function revisionOf(template: Json): string {
  return createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 16)
}

/** Of a DaemonSet that `nodeDaemonSet` made, or a pod of it; '' otherwise. */
export function revisionIn(object: { readonly metadata: Json }): string {
  const annotations = object.metadata['annotations'] as Json | undefined
  const revision = annotations?.[revisionAnnotation]
  return typeof revision === 'string' ? revision : ''
}

function podTemplate(spec: MeshInstall, options: InstallOptions): Json {
  const images = {
    agent: spec.images?.agent ?? options.agentImage,
    proxy: spec.images?.proxy ?? options.proxyImage,
  }
  const common = {
    serviceAccountName: nodeServiceAccount,
    // Nodes never speak to the API server: the only token is the one for the operator.
    automountServiceAccountToken: false,
    hostNetwork: true,
    dnsPolicy: 'ClusterFirstWithHostNet',
    priorityClassName: 'system-node-critical',
    tolerations: [{ operator: 'Exists' }],
    securityContext: {
      fsGroup: proxyUid,
      seccompProfile: { type: 'RuntimeDefault' },
    },
  }
  if (options.isRemoval) {
    return {
      ...common,
      // Nothing to finish; and wherever a datapath may be, also where an earlier selector had one.
      terminationGracePeriodSeconds: 1,
      ...removalContainers(images.agent),
      volumes: hostVolumes,
    }
  }
  const { nodeSelector, acceleration = 'Auto' } = spec
  // The right to look at every process, only where it is needed. A pod's own annotation does not ask for it: who may annotate a pod
  // must not give the agents of all nodes another right.
  const looksAtExecutables = acceleration === 'Auto'
  return {
    ...common,
    terminationGracePeriodSeconds: graceSeconds,
    ...(nodeSelector !== undefined &&
      Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    containers: [
      agentContainer(
        images.agent,
        spec.resources?.agent,
        options.namespace,
        looksAtExecutables,
      ),
      proxyContainer(images.proxy, spec.resources?.proxy, options.namespace),
    ],
    volumes: [
      ...hostVolumes,
      ...(looksAtExecutables ? [procVolume] : []),
      { name: 'agent-run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'proxy-run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'ca', configMap: { name: 'pillion-ca' } },
      {
        name: 'token',
        projected: {
          sources: [
            {
              serviceAccountToken: {
                audience: tokenAudience,
                expirationSeconds: 3600,
                path: 'token',
              },
            },
          ],
        },
      },
    ],
  }
}

const hostVolumes = [
  { name: 'bpf', hostPath: { path: paths.bpf, type: 'Directory' } },
  { name: 'cgroup', hostPath: { path: paths.cgroup, type: 'Directory' } },
  { name: 'state', hostPath: { path: paths.state, type: 'DirectoryOrCreate' } },
] as const

const procVolume = {
  name: 'proc',
  hostPath: { path: '/proc', type: 'Directory' },
} as const

/** Headless: a name for the metrics of all nodes. */
export function nodeService(namespace: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: nodeName, namespace, labels: nodeLabels },
    spec: {
      clusterIP: 'None',
      selector: { 'app.kubernetes.io/name': nodeName },
      ports: [{ name: 'metrics', port: ports.metrics, targetPort: 'metrics' }],
    },
  }
}

/** For the Prometheus operator, where its kind exists. */
export function nodePodMonitor(namespace: string): Manifest {
  return {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PodMonitor',
    metadata: { name: nodeName, namespace, labels: nodeLabels },
    spec: {
      selector: { matchLabels: { 'app.kubernetes.io/name': nodeName } },
      podMetricsEndpoints: [
        {
          port: 'metrics',
          path: '/metrics',
          relabelings: [
            { sourceLabels: ['__meta_kubernetes_pod_node_name'], targetLabel: 'node' },
          ],
        },
      ],
    },
  }
}

/** Finalizers with ours. */
export function withFinalizer(finalizers: readonly string[]): readonly string[] {
  return finalizers.includes(finalizer) ? finalizers : [...finalizers, finalizer]
}

export function withoutFinalizer(finalizers: readonly string[]): readonly string[] {
  return finalizers.filter((each) => each !== finalizer)
}
