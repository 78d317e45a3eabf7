// SPDX-License-Identifier: Apache-2.0
export { counterDocs, gaugeDocs } from './metrics/docs.ts'
export { outcomes } from './errors.ts'
export { optionTable } from './options.ts'
