// SPDX-License-Identifier: Apache-2.0
// The conformance tests of the Gateway API, as data: what is applied, what is asked, what should be seen.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

export interface Request {
  readonly Host?: string
  readonly Method?: string
  readonly Path?: string
  readonly Headers?: Readonly<Record<string, string>> | null
  readonly Protocol?: string
}

/** Names are those of the suite's own Go structures. */
export interface Expected {
  readonly TestCaseName?: string
  readonly Request?: Request
  readonly ExpectedRequest?: {
    readonly Request?: Request
    readonly AbsentHeaders?: readonly string[]
  }
  readonly BackendSetResponseHeaders?: Readonly<Record<string, string>>
  readonly Response?: {
    readonly StatusCode?: number
    readonly StatusCodes?: readonly number[]
    readonly Code?: number
    readonly Headers?: Readonly<Record<string, string | readonly string[]>>
    readonly ValidHeaderValues?: Readonly<Record<string, readonly string[]>>
    readonly AbsentHeaders?: readonly string[]
    readonly IgnoreWhitespace?: boolean
  }
  readonly RedirectRequest?: {
    readonly Scheme?: string
    readonly Host?: string
    readonly Port?: string
    readonly Path?: string
  }
  readonly Backend?: string
  readonly MirroredTo?: readonly {
    readonly BackendRef: { readonly Name: string }
    readonly Percent?: number
  }[]
  readonly EchoRequest?: object
  readonly EchoTwoRequest?: object
  readonly EchoThreeRequest?: object
  readonly RequestMetadata?: {
    readonly Authority?: string
    readonly Metadata?: Readonly<Record<string, string>>
  }
}

export interface ConformanceTest {
  readonly name: string
  readonly features: readonly string[]
  readonly yaml: string
  readonly expected: readonly Expected[]
}

const file = join(import.meta.dirname, '../../data/gateway-api-conformance.json.gz')

const all = new Map(
  (JSON.parse(gunzipSync(readFileSync(file)).toString()) as ConformanceTest[]).map(
    (each) => [each.name, each],
  ),
)

/** A test by its ShortName. */
export function conformanceTest(name: string): ConformanceTest {
  const found = all.get(name)
  if (found === undefined) throw new Error(`no conformance test is called ${name}`)
  return found
}

export const conformanceNames: readonly string[] = [...all.keys()]
