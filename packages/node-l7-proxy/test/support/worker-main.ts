// SPDX-License-Identifier: Apache-2.0
import { parseOptions } from '../../src/options.ts'
import { Worker } from '../../src/worker.ts'
import { LoopbackDatapath } from './datapath.ts'

new Worker(parseOptions(process.argv.slice(2), process.env), new LoopbackDatapath()).run()
