// SPDX-License-Identifier: Apache-2.0
// Values of options.
import { InvalidArgumentError, Option } from 'commander'
import { defaultManifests } from '../install/kustomize.ts'

const maxSeconds = 86_400

/** A number of seconds, "90" or "90s", up to a day. Throws what commander prints as wrong usage. */
export function seconds(text: string): number {
  const value = Number(/^(\d{1,6})s?$/.exec(text)?.[1])
  if (!(value <= maxSeconds))
    throw new InvalidArgumentError(
      `"${text}" is no number of seconds up to ${maxSeconds}`,
    )
  return value
}

/** `--manifests`: a directory as `kubectl apply -k` takes it. */
export function manifestsOption(what: string): Option {
  return new Option('--manifests <dir>', what).default(
    defaultManifests,
    'manifests/default of this checkout',
  )
}
