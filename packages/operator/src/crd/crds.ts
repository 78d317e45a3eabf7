// SPDX-License-Identifier: Apache-2.0
// PURE: the CustomResourceDefinitions of our kinds, from the schemas in src/api.
import type { z } from 'zod'
import { accessPolicy, l7Service, mesh } from '../api/mesh.ts'
import { meshStatus, status } from '../api/status.ts'
import { structuralSchema, type StructuralSchema } from './structural.ts'

export const group = 'mesh.pillion.dev'
const version = 'v1alpha1'

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly jsonPath: string
  readonly description: string
  /** Above 0: only with `-o wide`. */
  readonly priority?: number
}

/** CustomResourceDefinition of apiextensions.k8s.io/v1, as far as ours say something. */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1'
  readonly kind: 'CustomResourceDefinition'
  readonly metadata: {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
  }
  readonly spec: {
    readonly group: string
    readonly scope: 'Cluster' | 'Namespaced'
    readonly names: {
      readonly kind: string
      readonly listKind: string
      readonly plural: string
      readonly singular: string
      readonly shortNames: readonly string[]
      readonly categories: readonly string[]
    }
    readonly versions: readonly {
      readonly name: string
      readonly served: boolean
      readonly storage: boolean
      readonly subresources: { readonly status: Readonly<Record<string, never>> }
      readonly additionalPrinterColumns: readonly PrinterColumn[]
      readonly schema: { readonly openAPIV3Schema: StructuralSchema }
    }[]
  }
}

interface Kind {
  readonly kind: string
  readonly plural: string
  readonly shortNames: readonly string[]
  readonly scope: 'Cluster' | 'Namespaced'
  readonly schema: z.ZodType
  /** Where it has more than conditions. */
  readonly status?: z.ZodType
  readonly columns: readonly PrinterColumn[]
}

const specColumn = (
  name: string,
  path: string,
  description: string,
  type: PrinterColumn['type'] = 'string',
): PrinterColumn => ({ name, type, jsonPath: `.spec.${path}`, description })

const kinds: readonly Kind[] = [
  {
    kind: 'AccessPolicy',
    plural: 'accesspolicies',
    shortNames: ['ap'],
    scope: 'Namespaced',
    schema: accessPolicy,
    columns: [
      specColumn('Action', 'action', 'What happens to connections that match.'),
      specColumn('Mode', 'mode', 'Whether it is in force, or only watched.'),
    ],
  },
  {
    kind: 'L7Service',
    plural: 'l7services',
    shortNames: ['l7s'],
    scope: 'Namespaced',
    schema: l7Service,
    columns: [
      specColumn('Service', 'targetRef.name', 'The Service that needs L7 handling.'),
      specColumn('Port', 'targetRef.port', 'Its port; empty: all.', 'integer'),
      specColumn('Protocol', 'protocol', 'What it speaks.'),
      {
        ...specColumn('Failure Mode', 'failureMode', 'Empty: as the Mesh says.'),
        priority: 1,
      },
    ],
  },
  {
    kind: 'Mesh',
    plural: 'meshes',
    // Not "mesh": that is the short name of the Gateway API's XMesh.
    shortNames: ['pmesh'],
    scope: 'Cluster',
    schema: mesh,
    status: meshStatus,
    columns: [
      {
        name: 'Ready',
        type: 'integer',
        jsonPath: '.status.nodes.ready',
        description: 'Nodes that run what is installed, in good health.',
      },
      {
        name: 'Total',
        type: 'integer',
        jsonPath: '.status.nodes.total',
        description: 'Nodes that take part.',
      },
      specColumn('Failure Mode', 'failureMode', 'What happens without a proxy.'),
      specColumn('Acceleration', 'acceleration', 'Whether messages on a node skip TCP.'),
    ],
  },
]

const condition = (type: string, field: 'status' | 'message'): string =>
  `.status.conditions[?(@.type=="${type}")].${field}`

const commonColumns: readonly PrinterColumn[] = [
  {
    name: 'Accepted',
    type: 'string',
    jsonPath: condition('Accepted', 'status'),
    description: 'Whether the object is valid and in use.',
  },
  {
    name: 'Programmed',
    type: 'string',
    jsonPath: condition('Programmed', 'status'),
    description: 'Whether it is in force on every node.',
  },
  {
    name: 'Nodes',
    type: 'string',
    jsonPath: condition('Programmed', 'message'),
    description: 'On how many nodes it is in force.',
  },
  {
    name: 'Age',
    type: 'date',
    jsonPath: '.metadata.creationTimestamp',
    description: 'Time since the object was made.',
  },
]

/** The CustomResourceDefinitions of Mesh, L7Service and AccessPolicy, by name; the same value each time. */
export function crds(): CustomResourceDefinition[] {
  return kinds.map(({ kind, plural, shortNames, scope, schema, columns, ...rest }) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      labels: { 'app.kubernetes.io/part-of': 'pillion' },
    },
    spec: {
      group,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames,
        categories: ['pillion'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [...columns, ...commonColumns],
          schema: { openAPIV3Schema: rootSchema(schema, rest.status) },
        },
      ],
    },
  }))
}

/** Schema of the whole object: what of metadata is not ours to describe goes, apiVersion, kind and status come. */
function rootSchema(schema: z.ZodType, ofStatus: z.ZodType = status): StructuralSchema {
  const root = structuralSchema(schema)
  const { metadata: _metadata, ...fields } = root.properties ?? {}
  // Of metadata, a CRD may restrict the names only; a rule that blames one needs to find it in the schema.
  const blamesName = root['x-kubernetes-validations']?.some(
    ({ fieldPath }) => fieldPath === '.metadata.name',
  )
  const metadata: StructuralSchema = {
    type: 'object',
    ...(blamesName === true && { properties: { name: { type: 'string' } } }),
  }
  return {
    ...root,
    required: (root.required ?? []).filter((name) => name !== 'metadata'),
    properties: {
      apiVersion: {
        type: 'string',
        description: 'Version of the schema: mesh.pillion.dev/v1alpha1.',
      },
      kind: { type: 'string', description: 'Kind of the object.' },
      metadata,
      ...fields,
      status: {
        ...structuralSchema(ofStatus),
        description: 'What became of it. Written by the operator.',
      },
    },
  }
}
