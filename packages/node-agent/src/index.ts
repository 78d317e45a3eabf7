// SPDX-License-Identifier: Apache-2.0
export { Agent, startAgent } from './agent.ts'
export { AgentError, type AgentErrorCode } from './errors.ts'
export { optionTable, parseOptions, type Options } from './options.ts'
