// SPDX-License-Identifier: Apache-2.0
// Manifests read once, with the same validation as the running operator has: for the lab, for tests.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { messageOf } from '../errors.ts'
import { isManifest, readDocuments } from './manifest.ts'
import { apiKindOf, parseObject, type RawObject, type ValidationError } from './object.ts'

/** Every object below `dir` as written, kinds that only others read included, and all that is wrong with them. */
export function loadDirectory(dir: string): {
  objects: RawObject[]
  errors: ValidationError[]
} {
  const objects: RawObject[] = []
  const errors: ValidationError[] = []
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && isManifest(entry.name))
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(\.|node_modules\/)/.test(file))
    .sort()
  for (const file of files) {
    const bad = (message: string): void => {
      errors.push({ file, object: '', key: '', field: '', message })
    }
    try {
      for (const document of readDocuments(readFileSync(join(dir, file), 'utf8'))) {
        if (document.error !== undefined) bad(document.error)
        objects.push(...document.objects)
        errors.push(...validateObjects(document.objects, file))
      }
    } catch (error) {
      bad(messageOf(error))
    }
  }
  return { objects, errors }
}

/** What is wrong with objects that were read from `file`; kinds that the operator does not compile are not looked at. */
export function validateObjects(
  objects: readonly RawObject[],
  file: string,
): ValidationError[] {
  return objects.flatMap((raw) => {
    const kind = apiKindOf(raw)
    return kind === undefined ? [] : parseObject(kind, raw, file).errors
  })
}
