// SPDX-License-Identifier: Apache-2.0
// Entry of the proxy's parent process: options and nothing else.
import { softwareVersion } from '@pillion/contract'
import { OptionError, optionTable, parseOptions } from './options.ts'
import { runParent } from './parent.ts'

const argv = process.argv.slice(2)

if (argv.includes('--version')) {
  console.log(softwareVersion)
} else if (argv.includes('--help')) {
  for (const { flag, env, default: fallback, doc } of optionTable) {
    console.log(
      `--${flag.padEnd(18)} ${doc} (${fallback === undefined ? 'required' : `default ${fallback}`}; ${env})`,
    )
  }
} else {
  try {
    const options = parseOptions(argv, process.env)
    process.exitCode = await runParent(
      options,
      new URL('worker-main.ts', import.meta.url),
      argv,
    )
  } catch (error) {
    console.error(
      `pillion-proxy: ${error instanceof Error ? error.message : String(error)}`,
    )
    process.exitCode = error instanceof OptionError ? 2 : 1
  }
}
