#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The file system of an image, for `FROM scratch`: Node.js, one package of the workspace with its production dependencies, the
# shared libraries that these need, and nothing that starts a shell.
#
#   images/build.sh PACKAGE ROOT      for example: node-agent /rootfs
set -eu
package=$1
root=$2

pnpm install --prod --frozen-lockfile --filter "@pillion/$package..."

mkdir -p "$root/app/packages" "$root/usr/local/bin" "$root/etc" "$root/run/pillion" "$root/tmp"
chmod 1777 "$root/tmp"
cp "$(command -v node)" "$root/usr/local/bin/node"
cp package.json pnpm-workspace.yaml LICENSE "$root/app/"
cp -a node_modules "$root/app/"
# Everything of the workspace that the filter installed, without tests.
for dir in packages/*; do
	[ -d "$dir/node_modules" ] || [ "$(basename "$dir")" = "$package" ] || [ "$(basename "$dir")" = contract ] || continue
	mkdir -p "$root/app/$dir"
	for part in package.json src node_modules .build; do
		[ ! -e "$dir/$part" ] || cp -a "$dir/$part" "$root/app/$dir/"
	done
done
if [ "$package" = node-agent ]; then
	mkdir -p "$root/app/bpf"
	cp -a bpf/.output "$root/app/bpf/"
fi

# ldd also names the loader itself; paths are kept, for it is where the binaries look.
find "$root/usr/local/bin/node" "$root/app/packages" -name node -type f -o -name '*.node' -type f | xargs ldd 2>/dev/null |
	grep -o '/[^ ]*' | grep -v ':$' | sort -u |
	while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done

mkdir -p "$root/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0::/:/nologin\noperator:x:15020:15020::/:/nologin\nproxy:x:15021:15021::/:/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\noperator:x:15020:\nproxy:x:15021:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
