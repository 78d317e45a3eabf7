// SPDX-License-Identifier: Apache-2.0
// Between what a client sends and what is stored: defaults, pruning, validation.
import { withDefaults } from './defaults.ts'
import { badRequest, invalid, type Cause } from './errors.ts'
import { builtInErrors } from './rules.ts'
import type { KubeObject, Resource } from './types.ts'

/** Prunes, defaults and validates a custom resource by its definition. */
export type ValidateCustom = (
  resource: Resource,
  object: KubeObject,
  previous: KubeObject | undefined,
) => {
  readonly object: KubeObject
  readonly errors: readonly Cause[]
  /** Paths of unknown fields. */
  readonly pruned: readonly string[]
}

/** Makes objects fit to be stored, or refuses them. */
export class Admission {
  readonly #validateCustom: ValidateCustom
  #lastClusterIp = 0

  constructor(validateCustom: ValidateCustom) {
    this.#validateCustom = validateCustom
  }

  /** The object as it is stored. Throws 422, or 400 for unknown fields if `strict`. */
  admit(
    resource: Resource,
    object: KubeObject,
    previous: KubeObject | undefined,
    strict: boolean,
  ): KubeObject {
    const { name } = object.metadata
    if (resource.crd === undefined) {
      const allocate = (): string =>
        (previous?.spec?.['clusterIP'] as string | undefined) ?? this.#clusterIp()
      const complete = withDefaults(resource, object, allocate)
      const errors = builtInErrors(resource, complete, previous)
      if (errors.length > 0) throw invalid(resource, name, errors)
      return complete
    }
    const judged = this.#validateCustom(resource, object, previous)
    if (strict && judged.pruned.length > 0) {
      const fields = judged.pruned.map((path) => `unknown field "${path}"`)
      throw badRequest(`strict decoding error: ${fields.join(', ')}`)
    }
    if (judged.errors.length > 0) throw invalid(resource, name, judged.errors)
    return judged.object
  }

  #clusterIp(): string {
    this.#lastClusterIp++
    return `10.96.${this.#lastClusterIp >> 8}.${this.#lastClusterIp & 255}`
  }
}
