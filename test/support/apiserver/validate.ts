// SPDX-License-Identifier: Apache-2.0
// The border to the judge of custom resources.
import { validateAgainstCrd } from '../crd-validate.ts'
import type { Json, KubeObject, Resource } from './types.ts'
import type { ValidateCustom } from './admission.ts'

/** The definition with `version` as the one that validates. */
function judgedBy(crd: KubeObject, version: string): KubeObject {
  const versions = (crd.spec?.['versions'] ?? []) as Json[]
  return {
    ...crd,
    spec: {
      ...crd.spec,
      versions: versions.map((v) => ({ ...v, storage: v['name'] === version })),
    },
  }
}

/** Prunes, defaults and validates `object` by the schema of its version. */
export const validateCustom: ValidateCustom = (resource: Resource, object, previous) => {
  const { crd } = resource
  if (crd === undefined) return { object, errors: [], pruned: [] }
  const definition = judgedBy(crd, resource.version) as unknown as Parameters<
    typeof validateAgainstCrd
  >[0]
  const judged = validateAgainstCrd(definition, object, previous)
  return { ...judged, object: judged.object as unknown as KubeObject }
}
