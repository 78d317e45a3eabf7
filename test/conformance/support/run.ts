// SPDX-License-Identifier: Apache-2.0
import type { Test } from 'tap'
import type { Ask } from '../app/client.ts'
import type { ConformanceTest, Expected } from './cases.ts'
import { expectReply } from './expect.ts'
import { askOf, type World } from './world.ts'

/** Runs every case of a test. */
export async function runCases(
  t: Test,
  world: World,
  test: ConformanceTest,
): Promise<void> {
  await world.apply(test)
  t.ok(test.expected.length > 0, 'there are cases')
  for (const want of test.expected) await runCase(t, world, want)
}

/** One case, HTTP or gRPC. */
export async function runCase(t: Test, world: World, want: Expected): Promise<void> {
  const grpc = grpcOf(want)
  const request: Ask = {
    ...{ to: world.address, port: world.port, protocol: 'http', body: '' },
    ...{ method: 'GET', path: '/', host: 'gateway', headers: {} },
    ...(grpc === undefined ? askOf(want) : grpc.ask),
  }
  expectReply(t, grpc?.want ?? want, request, await world.ask(request))
}

/**
 * The call of a gRPC case. The suite's server gives back the metadata that it saw, so what such a case says of the answer's
 * headers is about the request.
 */
function grpcOf(want: Expected): { ask: Partial<Ask>; want: Expected } | undefined {
  const method = (['EchoRequest', 'EchoTwoRequest', 'EchoThreeRequest'] as const).find(
    (each) => want[each] !== undefined,
  )
  if (method === undefined) return undefined
  const { Headers = {}, AbsentHeaders = [], ...response } = want.Response ?? {}
  const seen = Object.fromEntries(
    Object.entries(Headers).map(([name, value]) => [name, String(value)]),
  )
  return {
    ask: {
      protocol: 'grpc',
      method: 'POST',
      path: `/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/${method.replace('Request', '')}`,
      headers: lower(want.RequestMetadata?.Metadata ?? {}),
    },
    want: {
      ...want,
      Response: response,
      ExpectedRequest: { Request: { Headers: seen }, AbsentHeaders },
    },
  }
}

/** As HTTP/2 wants names. */
function lower(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
}
