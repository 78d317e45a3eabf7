#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# First process of the emulated machine: guest.sh NODE. What guest.ts prints goes to the second serial port.
export PATH="$(dirname "$1"):/usr/sbin:/usr/bin:/sbin:/bin" HOME=/tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
echo 1 >/proc/sys/kernel/printk
stty -F /dev/ttyS1 raw
"$1" "$(dirname "$0")/guest.ts" </dev/null >/dev/ttyS1 2>/dev/console
echo o >/proc/sysrq-trigger
sleep 60
