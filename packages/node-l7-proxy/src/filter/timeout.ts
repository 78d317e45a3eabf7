// SPDX-License-Identifier: Apache-2.0
import { type Headers, getHeader } from '../headers.ts'
import { parseGrpcTimeout } from '../grpc/timeout-header.ts'

/**
 * What bounds a request with all its tries, in milliseconds; 0: nothing. The route's timeouts.request (GEP-1742), or the
 * deadline that a gRPC client states, whichever is shorter.
 */
export function requestBoundMs(routeMs: number, grpc: boolean, headers: Headers): number {
  if (!grpc) return routeMs
  const text = getHeader(headers, 'grpc-timeout')
  const clientMs = text === undefined ? undefined : parseGrpcTimeout(text)
  if (clientMs === undefined) return routeMs
  return routeMs === 0 ? clientMs : Math.min(routeMs, clientMs)
}
