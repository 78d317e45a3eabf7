// SPDX-License-Identifier: Apache-2.0
// PURE: what a Mesh needs on its nodes, as objects of the API.
import { createHash } from 'node:crypto'
import { tokenAudience } from '../publish/token-review.ts'
import {
  agentContainer,
  proxyContainer,
  removalContainers,
  uninstallContainer,
} from './containers.ts'
import {
  cleanerName,
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

/** Names of a ConfigMap and a Secret in the operator's namespace. */
export interface FilterSource {
  readonly configMap?: string | undefined
  readonly secret?: string | undefined
}

/** `spec` of a Mesh, as far as it is about the installation. */
export interface MeshInstall {
  readonly images?:
    | { readonly agent?: string | undefined; readonly proxy?: string | undefined }
    | undefined
  readonly resources?:
    | { readonly agent?: Resources | undefined; readonly proxy?: Resources | undefined }
    | undefined
  readonly filters?: FilterSource | undefined
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
  // Where pods run is no property of a pod: another selection replaces none that stays.
  const { nodeSelector: _where, ...what } = template
  const revision = revisionOf(what)
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

/** Of a DaemonSet that `nodeDaemonSet` made. */
export function selectorIn(daemonSet: Json): Json {
  const { template } = (daemonSet['spec'] ?? {}) as {
    template?: { spec?: { nodeSelector?: Json } }
  }
  return template?.spec?.nodeSelector ?? {}
}

/** Of a DaemonSet that `nodeDaemonSet` made, a pod of it or a cleaner; '' otherwise. */
export function revisionIn(object: { readonly metadata: Json }): string {
  return annotationsOf(object)[revisionAnnotation] ?? ''
}

export function annotationsOf({
  metadata,
}: {
  readonly metadata: Json
}): Partial<Record<string, string>> {
  return (metadata['annotations'] ?? {}) as Partial<Record<string, string>>
}

/**
 * A pod that takes the datapath from a node that the Mesh does not select any more, and ends when it is gone. It goes past the
 * scheduler, as the node may be cordoned. As the DaemonSet it has no owner.
 */
export function cleanerPod(
  spec: MeshInstall,
  options: Omit<InstallOptions, 'isRemoval'>,
  node: string,
): Manifest {
  const template = cleanerSpec(spec, options)
  const hash = createHash('sha256').update(node).digest('hex').slice(0, 16)
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${cleanerName}-${hash}`,
      namespace: options.namespace,
      labels: { ...nodeLabels, 'app.kubernetes.io/name': cleanerName },
      annotations: { [revisionAnnotation]: revisionOf(template) },
    },
    spec: { ...template, nodeName: node },
  }
}

/** Of the cleaners as `cleanerPod` makes them now. */
export function cleanerRevision(
  spec: MeshInstall,
  options: Omit<InstallOptions, 'isRemoval'>,
): string {
  return revisionOf(cleanerSpec(spec, options))
}

function cleanerSpec(
  spec: MeshInstall,
  { agentImage }: Pick<InstallOptions, 'agentImage'>,
): Json {
  return {
    ...commonPod,
    restartPolicy: 'OnFailure',
    terminationGracePeriodSeconds: 1,
    containers: [uninstallContainer(spec.images?.agent ?? agentImage)],
    volumes: hostVolumes,
  }
}

const commonPod = {
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
} as const

function podTemplate(spec: MeshInstall, options: InstallOptions): Json {
  const images = {
    agent: spec.images?.agent ?? options.agentImage,
    proxy: spec.images?.proxy ?? options.proxyImage,
  }
  if (options.isRemoval) {
    return {
      ...commonPod,
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
    ...commonPod,
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
      proxyContainer(
        images.proxy,
        spec.resources?.proxy,
        options.namespace,
        spec.filters,
      ),
    ],
    volumes: [
      ...hostVolumes,
      ...(looksAtExecutables ? [procVolume] : []),
      { name: 'agent-run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'proxy-run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'ca', configMap: { name: 'pillion-ca' } },
      ...filterVolumes(spec.filters),
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

/** Optional: a node must not lose its mesh because somebody has not written a filter yet. */
function filterVolumes({ configMap, secret }: FilterSource = {}): Json[] {
  const code = { name: 'filters', configMap: { name: configMap, optional: true } }
  const secrets = {
    name: 'filter-secrets',
    // Through the pod's fsGroup, which is the proxy's: for nobody else.
    secret: { secretName: secret, optional: true, defaultMode: 0o440 },
  }
  return [
    ...(configMap === undefined ? [] : [code]),
    ...(secret === undefined ? [] : [secrets]),
  ]
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
