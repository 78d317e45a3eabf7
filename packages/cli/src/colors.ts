// SPDX-License-Identifier: Apache-2.0
// Colours, for terminals only: what is piped or kept in a file is plain, also where CI is set, which picocolors' own
// default takes for a terminal.
import picocolors from 'picocolors'

/** Colours for what is written to `stream`; none with NO_COLOR (no-color.org) or on a terminal that has none. */
const colorsOf = (stream: { readonly isTTY?: boolean }) =>
  picocolors.createColors(
    stream.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
  )

/** For the answer, on stdout. */
export const colors = colorsOf(process.stdout)

/** For progress and errors, on stderr. */
export const progressColors = colorsOf(process.stderr)
