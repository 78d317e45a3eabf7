// SPDX-License-Identifier: Apache-2.0
import { trustOf, type Bundle } from '../../src/publish/ca.ts'
import type { BundleStore, Stored } from '../../src/publish/ca-store.ts'

/** Keeps a bundle for one test. */
export class MemoryStore implements BundleStore {
  stored: Stored | undefined
  trust = ''

  async read(): Promise<Stored | undefined> {
    return this.stored
  }

  async write(bundle: Bundle): Promise<void> {
    this.stored = { bundle, version: '' }
  }

  async publish(bundle: Bundle): Promise<void> {
    this.trust = trustOf(bundle)
  }
}
