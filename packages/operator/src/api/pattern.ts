// SPDX-License-Identifier: Apache-2.0
// Regular expressions in routes: RE2 syntax, which contains the "Gateway API Regex" of GEP-4359, and bounded in size, because
// the proxy of every node runs them on every request.
import { RE2JS, RE2JSException } from 're2js'
import { z } from 'zod'

export const maxPatternLength = 1024

/** Instructions of the compiled expression: ".{1,100}" has about 200. Matching costs this times the text, at worst. */
export const maxPatternSize = 500

/** What is wrong with an expression, or undefined. */
export function patternProblem(source: string): string | undefined {
  if (source.length > maxPatternLength)
    return `must not be longer than ${maxPatternLength} characters`
  try {
    const size = RE2JS.compile(source).programSize()
    if (size <= maxPatternSize) return undefined
    return `is too large a regular expression: ${size} instructions, at most ${maxPatternSize}; use smaller repeat counts`
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error
    return `must be a regular expression of RE2: ${error.message.replace(/^error parsing regexp: /, '')}`
  }
}

/** Adds an issue at `field` when it is no such expression. */
export function checkPattern(
  context: z.core.$RefinementCtx,
  field: string,
  source: string,
): void {
  const message = patternProblem(source)
  if (message !== undefined)
    context.addIssue({ code: 'custom', path: [field], message, input: source })
}
