// SPDX-License-Identifier: Apache-2.0
import type { MethodDefinition } from '@grpc/grpc-js'

const method = (
  path: string,
  responseStream: boolean,
): MethodDefinition<string, string> => ({
  path: `/e2e.Echo/${path}`,
  requestStream: false,
  responseStream,
  requestSerialize: (text) => Buffer.from(text),
  requestDeserialize: (bytes) => bytes.toString(),
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: (bytes) => bytes.toString(),
})

/** Bare strings instead of protobuf: the proxy must not care. */
export const echoService = {
  who: method('Who', false),
  count: method('Count', true),
}
