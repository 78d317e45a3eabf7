// SPDX-License-Identifier: Apache-2.0

/** With the stack if there is one. Always a string, and never throws: what user code throws may be anything. */
export function errorText(error: unknown): string {
  try {
    return String(error instanceof Error ? (error.stack ?? error.message) : error)
  } catch {
    return 'an error that cannot be made a text'
  }
}
