// SPDX-License-Identifier: Apache-2.0
// Environment of a container, with Kubernetes' rules for $(NAME). Pure.
import type { EnvVar } from '../types.ts'

/** What fieldRef may refer to. */
export interface PodFields {
  readonly name: string
  readonly namespace: string
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly nodeName: string
  readonly serviceAccountName: string
  readonly podIPs: readonly string[]
  readonly hostIP: string
}

/** Replaces $(NAME) by its value; $$(NAME) is a literal $(NAME); an unknown name stays as written. */
export function expandVariables(
  text: string,
  env: Readonly<Record<string, string>>,
): string {
  return text.replaceAll(
    /\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))/g,
    (whole, mark, name) => {
      if (mark === '$') return '$'
      return env[name as string] ?? whole
    },
  )
}

/** The container's variables on top of `base`; later ones may refer to earlier ones. */
export function containerEnv(
  variables: readonly EnvVar[],
  fields: PodFields,
  base: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = { ...base }
  for (const { name, value, valueFrom } of variables) {
    const path = valueFrom?.fieldRef?.fieldPath
    env[name] =
      path === undefined
        ? expandVariables(value ?? '', env)
        : (fieldValue(path, fields) ?? '')
  }
  return env
}

/** Value of a fieldRef path, or undefined when there is no such field. */
export function fieldValue(path: string, fields: PodFields): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path)
  if (keyed !== null) {
    const [, which = '', key = ''] = keyed
    return (which === 'labels' ? fields.labels : fields.annotations)[key] ?? ''
  }
  switch (path) {
    case 'metadata.name':
      return fields.name
    case 'metadata.namespace':
      return fields.namespace
    case 'metadata.uid':
      return fields.uid
    case 'spec.nodeName':
      return fields.nodeName
    case 'spec.serviceAccountName':
      return fields.serviceAccountName
    case 'status.podIP':
      return fields.podIPs[0]
    case 'status.podIPs':
      return fields.podIPs.join(',')
    case 'status.hostIP':
      return fields.hostIP
    default:
      return undefined
  }
}
