// SPDX-License-Identifier: Apache-2.0
// The part of jose that is used: one place to see it.
export { createLocalJWKSet, decodeJwt, errors, jwtVerify, type JSONWebKeySet } from 'jose'
import type { createLocalJWKSet } from 'jose'

export type LocalJWKSetResult = ReturnType<typeof createLocalJWKSet>
