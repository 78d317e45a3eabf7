// SPDX-License-Identifier: Apache-2.0
// 230 NetworkPolicy cases of a generator, with the truth table of an independent engine (test/data/README.md).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

interface Pod {
  readonly Ns: string
  readonly Name: string
  readonly IP: string
  readonly Labels: Readonly<Record<string, string>>
}

export interface Step {
  readonly Policies:
    | readonly { kind?: string; apiVersion?: string; metadata: object; spec: object }[]
    | null
  readonly Namespaces: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly Pods: readonly Pod[]
  /** "TCP/80" → a row for each source, a column for each destination; "." may, "X" may not. */
  readonly Expect: Readonly<Record<string, string>>
}

export interface Case {
  readonly Description: string
  readonly Tags: readonly string[]
  readonly Steps: readonly Step[]
}

const data = join(import.meta.dirname, '../../data/netpol-cyclonus-230.json.gz')

export function readCases(): Case[] {
  return JSON.parse(gunzipSync(readFileSync(data)).toString()) as Case[]
}
