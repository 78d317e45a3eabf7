// SPDX-License-Identifier: Apache-2.0
// The parts of Kubernetes objects that the lab itself reads. Everything else passes through untouched.

export interface ObjectMeta {
  name: string
  namespace?: string
  uid?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  creationTimestamp?: string
  deletionTimestamp?: string
  /** Seconds; what the deletion asked for. */
  deletionGracePeriodSeconds?: number
  generation?: number
  ownerReferences?: OwnerReference[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
}

export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  spec?: unknown
  status?: unknown
  [field: string]: unknown
}

export interface EnvVar {
  name: string
  value?: string
  valueFrom?: { fieldRef?: { fieldPath: string } }
}

export interface Probe {
  httpGet?: {
    path?: string
    port: number | string
    host?: string
    httpHeaders?: { name: string; value: string }[]
  }
  tcpSocket?: { port: number | string; host?: string }
  exec?: { command: string[] }
  initialDelaySeconds?: number
  periodSeconds?: number
  timeoutSeconds?: number
  successThreshold?: number
  failureThreshold?: number
}

export interface ContainerPort {
  name?: string
  containerPort: number
  protocol?: string
}

export interface Container {
  name?: string
  image?: string
  command?: string[]
  args?: string[]
  env?: EnvVar[]
  workingDir?: string
  ports?: ContainerPort[]
  readinessProbe?: Probe
  securityContext?: SecurityContext
  lifecycle?: { preStop?: { sleep?: { seconds: number }; exec?: { command: string[] } } }
}

export interface SecurityContext {
  runAsUser?: number
  runAsGroup?: number
  privileged?: boolean
  capabilities?: { add?: string[]; drop?: string[] }
}

export interface PodSpec {
  containers: Container[]
  nodeName?: string
  serviceAccountName?: string
  terminationGracePeriodSeconds?: number
  restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  hostNetwork?: boolean
  /** With `subdomain`, the name of a headless Service, the pod has a name of its own: hostname.subdomain. */
  hostname?: string
  subdomain?: string
  nodeSelector?: Record<string, string>
  securityContext?: SecurityContext
}

export interface PodObject extends KubeObject {
  spec: PodSpec
}

export interface DeploymentObject extends KubeObject {
  spec: {
    replicas?: number
    selector?: { matchLabels?: Record<string, string> }
    template: { metadata?: Partial<ObjectMeta>; spec: PodSpec }
  }
}

export interface ServicePort {
  name?: string
  port: number
  targetPort?: number | string
  protocol?: string
  nodePort?: number
}

export interface ServiceObject extends KubeObject {
  spec: {
    type?: string
    clusterIP?: string
    clusterIPs?: string[]
    ipFamilies?: string[]
    ipFamilyPolicy?: string
    selector?: Record<string, string>
    ports?: ServicePort[]
    publishNotReadyAddresses?: boolean
    externalName?: string
    allocateLoadBalancerNodePorts?: boolean
    trafficDistribution?: string
  }
}

/** "Kind namespace/name", for people. */
export function describe(object: KubeObject): string {
  const { namespace, name } = object.metadata
  return `${object.kind} ${namespace === undefined ? name : `${namespace}/${name}`}`
}

/** Key of an object: kind, namespace and name. */
export function keyOf(object: KubeObject): string {
  return objectKey(object.kind, object.metadata.namespace, object.metadata.name)
}

export function objectKey(
  kind: string,
  namespace: string | undefined,
  name: string,
): string {
  return `${kind.toLowerCase()}/${namespace ?? ''}/${name}`
}

/** "namespace/name". */
export function nameOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? 'default'}/${object.metadata.name}`
}
