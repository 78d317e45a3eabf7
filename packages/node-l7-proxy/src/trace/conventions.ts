// SPDX-License-Identifier: Apache-2.0
// PURE: what OpenTelemetry's conventions for HTTP (stable) and RPC (1.44) call things, in spans and in metrics alike.
import { statusName } from '../grpc/status.ts'
import type { Rule } from '../route/table.ts'

const knownMethods = new Set([
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'],
  'QUERY',
])

/** gRPC statuses that are a server's own failure. */
const serverErrors = new Set([2, 4, 12, 13, 14, 15])

export function isKnownMethod(method: string): boolean {
  return knownMethods.has(method)
}

/** Whether it is the server's error; `grpc` is the status of a call, undefined for HTTP. */
export function isServerError(status: number, grpc: number | undefined): boolean {
  return grpc === undefined ? status >= 500 : serverErrors.has(grpc)
}

/** http.route: never the path itself, so that there are few. */
export function routeOf({ path, text }: Rule): string {
  if (path.kind === 'exact') return path.value
  return path.kind === 'prefix' ? `${path.value}/*` : text
}

/** error.type; `flag` is a response flag, "-" where an endpoint answered. */
export function errorOf(status: number, flag: string, grpc: number | undefined): string {
  if (grpc !== undefined) return statusName(grpc)
  return flag === '-' ? String(status) : flag
}
