// SPDX-License-Identifier: Apache-2.0
// Reads manifests: a file, or every .yaml, .yml and .json file of a directory and its subdirectories.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isMap, parseAllDocuments } from 'yaml'
import { errnoOf, LabError, messageOf } from '../errors.ts'
import type { KubeObject } from '../types.ts'

/** An object and where it was read. */
export interface Loaded {
  readonly object: KubeObject
  /** "file" or "file#2" for the second document. */
  readonly from: string
}

const manifestName = /\.(ya?ml|json)$/

/** Files of a manifest path, sorted. Throws a LabError when there is none. */
export function manifestFiles(path: string): string[] {
  let isDirectory: boolean
  try {
    isDirectory = statSync(path).isDirectory()
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    throw new LabError('not-found', `${path}: no such file or directory`)
  }
  if (!isDirectory) return [path]
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && manifestName.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    // package.json and tsconfig.json of an application beside its manifests are none.
    .filter(
      (file) =>
        !/(^|\/)(node_modules\/.*|package(-lock)?\.json|tsconfig.*\.json)$/.test(file),
    )
    .sort()
  if (files.length === 0) throw new LabError('not-found', `${path}: no .yaml file in it`)
  return files
}

/** Objects of a file or directory. Throws one LabError that names every file that cannot be read. */
export function loadManifests(path: string): Loaded[] {
  const problems: string[] = []
  const loaded = manifestFiles(path).flatMap((file) => {
    try {
      return parseManifests(readFileSync(file, 'utf8'), file)
    } catch (error) {
      problems.push(messageOf(error))
      return []
    }
  })
  if (problems.length > 0) throw new LabError('invalid', problems.join('\n'))
  return loaded
}

/** Objects of a YAML or JSON text; a List becomes its items. Throws a LabError that names `file`. */
export function parseManifests(text: string, file: string): Loaded[] {
  const documents = parseAllDocuments(text)
  if (!Array.isArray(documents)) return []
  return documents.flatMap((document, index) => {
    const from = documents.length > 1 ? `${file}#${index + 1}` : file
    const [error] = document.errors
    if (error !== undefined) throw new LabError('invalid', `${from}: ${error.message}`)
    // Nothing between two separators, or only comments.
    if (document.toJS() === null) return []
    if (!isMap(document.contents)) {
      throw new LabError(
        'invalid',
        `${from}: a manifest is a mapping with apiVersion and kind`,
      )
    }
    return flatten(document.toJS() as Record<string, unknown>, from)
  })
}

function flatten(value: Record<string, unknown>, from: string): Loaded[] {
  const { apiVersion, kind, metadata, items } = value
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
    throw new LabError('invalid', `${from}: apiVersion and kind must be strings`)
  }
  if (kind === 'List' && Array.isArray(items)) {
    return items.flatMap((item, i) =>
      flatten(item as Record<string, unknown>, `${from}[${i}]`),
    )
  }
  const name = (metadata as { name?: unknown } | undefined)?.name
  if (typeof name !== 'string' || name === '') {
    throw new LabError('invalid', `${from}: ${kind} has no metadata.name`)
  }
  return [{ object: withNamespace(value as KubeObject), from }]
}

/** Kinds without a namespace. */
const clusterScoped = new Set(['Namespace', 'Node', 'Mesh', 'CustomResourceDefinition'])

export function isClusterScoped(kind: string): boolean {
  return clusterScoped.has(kind)
}

function withNamespace(object: KubeObject): KubeObject {
  const { namespace: given, ...metadata } = object.metadata
  if (isClusterScoped(object.kind)) return { ...object, metadata }
  return { ...object, metadata: { ...metadata, namespace: given ?? 'default' } }
}
