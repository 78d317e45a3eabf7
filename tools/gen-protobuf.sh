#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gen-protobuf.sh OUT: TypeScript for packages/contract/proto into OUT. The drift test runs it into a temporary directory.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?output directory}
options=(
  outputServices=grpc-js importSuffix=.ts esModuleInterop=true forceLong=number useOptionals=none oneof=unions-value
  enumsAsLiterals=true removeEnumPrefix=true unrecognizedEnum=false env=node exportCommonSymbols=false
  outputJsonMethods=to-only
)
mkdir -p "$out"
protoc --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out="$out" \
  --ts_proto_opt="$(IFS=, && echo "${options[*]}")" -I packages/contract/proto \
  pillion/v1/node.proto pillion/v1/access.proto pillion/v1/traffic.proto
