#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make images`: pillion-operator, pillion-agent and pillion-proxy, with whatever container engine there is.
#
#   images/make.sh [PREFIX]           PREFIX goes before the names, for example "example.org/mesh/"
set -eu
cd "$(dirname -- "$0")/.."
prefix=${1-}
version=$(sed -n "s/^export const softwareVersion = '\(.*\)'$/\1/p" packages/contract/src/version.ts)
[ -n "$version" ] || { echo 'images: no softwareVersion in packages/contract/src/version.ts' >&2; exit 1; }

# A client without its daemon is no engine.
for engine in docker podman buildah; do
	"$engine" info >/dev/null 2>&1 && break
	engine=
done
if [ -z "$engine" ]; then
	echo 'images: no container engine works here; install and start docker, podman or buildah' >&2
	exit 1
fi
for name in operator agent proxy; do
	"$engine" build -f "images/$name/Dockerfile" -t "${prefix}pillion-$name:$version" .
done
