// SPDX-License-Identifier: Apache-2.0
export * from './address.ts'
export * from './gen/pillion/v1/node.ts'
export * from './identity.ts'
export * from './resources.ts'
export * from './security.ts'
export * from './select.ts'
export * from './subscribe.ts'
export * from './version.ts'
