// SPDX-License-Identifier: Apache-2.0
// The command line that puts a process where it belongs. Everything in the chain is exec'ed, so the pid that spawn
// returns is the pid of the final command, and the cgroup is joined before anything else: no instruction of the
// command ever runs outside of it.

export interface Launch {
  /** Joined first. */
  readonly cgroup: string
  /** Name below /run/netns; absent: the caller's. */
  readonly netns?: string
  /** Bind mounts in a mount namespace of its own, [source, target]. Absent: the caller's mount namespace. */
  readonly mounts?: readonly (readonly [string, string])[]
  /** Own UTS namespace with this name; needs `mounts`. */
  readonly hostname?: string
  readonly workingDir?: string
  /** Arguments of setpriv(1): identity and capabilities. Absent: as the caller. */
  readonly privileges?: readonly string[]
  readonly umask?: string
  readonly env: Readonly<Record<string, string>>
  readonly argv: readonly string[]
}

const join = 'echo $$ > "$1/cgroup.procs" || exit 125; umask "$2"; shift 2; exec "$@"'

// `mount` reads "$1 $2" pairs up to "--"; a host without /etc/resolv.conf has nothing to mount over, which is no error.
const enter = [
  'while [ "$1" != -- ]; do',
  '  if [ -e "$2" ]; then mount --bind "$1" "$2" || exit 125; fi; shift 2;',
  'done; shift;',
  '[ -z "$1" ] || hostname "$1"; shift;',
  'cd "$1" || exit 125; shift;',
  'exec "$@"',
].join('\n')

/** Command and arguments for child_process.spawn. */
export function launchArgv(launch: Launch): { command: string; args: string[] } {
  const args = ['-c', join, 'pillion-lab', launch.cgroup, launch.umask ?? '022']
  if (launch.netns !== undefined) {
    args.push('nsenter', `--net=/run/netns/${launch.netns}`, '--')
  }
  // Propagation "slave": what the host unmounts goes away here too (a deleted network namespace is really gone),
  // nothing of ours reaches the host.
  if (launch.mounts !== undefined) {
    args.push('unshare', '--mount', '--propagation', 'slave')
    if (launch.hostname !== undefined) args.push('--uts')
    args.push('--')
  }
  args.push('/bin/sh', '-c', enter, 'pillion-lab', ...(launch.mounts ?? []).flat(), '--')
  args.push(launch.hostname ?? '', launch.workingDir ?? '/')
  if (launch.privileges !== undefined) args.push('setpriv', ...launch.privileges, '--')
  args.push(...launch.argv)
  return { command: '/bin/sh', args }
}
