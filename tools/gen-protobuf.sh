#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gen-protobuf.sh ROOT: TypeScript for the .proto files of packages, into packages/*/src/gen below ROOT. The drift test runs
# it into a temporary directory.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${1:?root of what is written}
options=importSuffix=.ts,esModuleInterop=true,forceLong=number,useOptionals=none,oneof=unions-value,enumsAsLiterals=true
options+=,removeEnumPrefix=true,unrecognizedEnum=false,env=node,exportCommonSymbols=false,outputJsonMethods=to-only

# generate PACKAGE SERVICES PROTO...: SERVICES is grpc-js, or none where services are called without it.
generate() {
  local package=$1 services=$2 out=$root/packages/$1/src/gen
  shift 2
  mkdir -p "$out"
  protoc --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out="$out" \
    --ts_proto_opt="outputServices=$services,$options" -I "packages/$package/proto" "$@"
}

generate contract grpc-js pillion/v1/node.proto pillion/v1/access.proto pillion/v1/traffic.proto
generate node-l7-proxy none envoy/service/ratelimit/v3/rls.proto
