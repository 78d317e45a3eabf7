// SPDX-License-Identifier: Apache-2.0
// Entry of a worker process; started by supervisor.ts only.
import { KernelDatapath } from './datapath.ts'
import { parseOptions } from './options.ts'
import { Worker } from './worker.ts'

new Worker(parseOptions(process.argv.slice(2), process.env), new KernelDatapath()).run()
