// SPDX-License-Identifier: Apache-2.0
// Status of objects, from the STATUS files that the operator writes beside the source.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { paths } from '../paths.ts'
import type { KubeObject } from '../types.ts'

/** The object with the operator's status, as an API server would show it; unchanged when there is none. */
export function withStatus(object: KubeObject, dir: string = paths.status): KubeObject {
  const { namespace = '_cluster', name } = object.metadata
  let text: string
  try {
    text = readFileSync(join(dir, namespace, `${object.kind}.${name}.yaml`), 'utf8')
  } catch {
    return object // no mesh, or nothing to say of this one
  }
  const { status } = parse(text) as { status?: object }
  if (status === undefined) return object
  return { ...object, status: { ...(object.status as object | undefined), ...status } }
}
