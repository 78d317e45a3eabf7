// SPDX-License-Identifier: Apache-2.0
// The real parent with workers that use the loopback datapath.
import { parseOptions } from '../../src/options.ts'
import { runParent } from '../../src/parent.ts'

const argv = process.argv.slice(2)
process.exitCode = await runParent(
  parseOptions(argv, process.env),
  new URL('worker-main.ts', import.meta.url),
  argv,
)
