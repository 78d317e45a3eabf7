// SPDX-License-Identifier: Apache-2.0
// Values of options, and examples.
import { InvalidArgumentError, Option, type Command } from 'commander'
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

/** A whole number from 1 on. Throws what commander prints as wrong usage. */
export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError(`"${text}" is no whole number from 1 on`)
}

/** Lines at the end of `--help` that can be typed as they stand. */
export function examples(command: Command, ...lines: string[]): void {
  const title = lines.length === 1 ? 'Example' : 'Examples'
  command.addHelpText('after', `\n${title}:\n${lines.map((l) => `  ${l}`).join('\n')}`)
}

/** `--manifests`: a directory as `kubectl apply -k` takes it. */
export function manifestsOption(what: string): Option {
  return new Option('--manifests <dir>', what).default(
    defaultManifests,
    'manifests/default of this checkout',
  )
}
