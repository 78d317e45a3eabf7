// SPDX-License-Identifier: Apache-2.0
// Filters of users for tests: their declaration, and a directory as the kubelet mounts a ConfigMap.
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServiceFilter } from '@pillion/contract'

/** An entry of an L7Service, as the operator compiles it. */
export function filter(name: string, more: Partial<ServiceFilter> = {}): ServiceFilter {
  return { name, configJson: '', timeoutMs: 5000, bypass: false, ...more }
}

export type MountedConfigMap = {
  readonly path: string
  /** All files at once, by swapping the link "..data" (kubernetes pkg/volume/util/atomic_writer.go). */
  swap(files: Readonly<Record<string, string>>): void
  remove(): void
}

export function mountConfigMap(
  files: Readonly<Record<string, string>>,
): MountedConfigMap {
  const path = mkdtempSync(join(tmpdir(), 'pillion-filters-'))
  let generation = 0
  const mounted = {
    path,
    swap: (next: Readonly<Record<string, string>>) => {
      const before = `..${generation}`
      const directory = `..${++generation}`
      mkdirSync(join(path, directory))
      for (const [name, content] of Object.entries(next)) {
        writeFileSync(join(path, directory, name), content)
        rmSync(join(path, name), { force: true })
        symlinkSync(join('..data', name), join(path, name))
      }
      symlinkSync(directory, join(path, '..data_tmp'))
      renameSync(join(path, '..data_tmp'), join(path, '..data'))
      rmSync(join(path, before), { recursive: true, force: true })
    },
    remove: () => {
      rmSync(path, { recursive: true, force: true })
    },
  }
  mounted.swap(files)
  return mounted
}
