// SPDX-License-Identifier: Apache-2.0
// Debian's kernel packages: found, fetched and unpacked beside the machine's own apt, which is not touched.
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Kernel } from './kernels.ts'

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
/** Of the package, and of what it was split into in later releases. */
const isKernelPackage = (name: string): boolean =>
  /^linux-(image|binary|modules|base)-\d/.test(name)

/** A kernel on disk. */
export interface Unpacked {
  /** uname -r. */
  readonly release: string
  readonly image: string
  /** `depmod -b` of it: below are lib/modules/RELEASE. */
  readonly base: string
}

/**
 * Fetches the newest package of the kernel's suites into `cache`, unless it is there. Without the network what was fetched last
 * serves. Throws when there is none.
 */
export function unpackKernel(kernel: Kernel, cache: string): Unpacked {
  const home = join(cache, kernel.name)
  mkdirSync(home, { recursive: true })
  const names = candidate(kernel, home)
  const unpacked = readdirSync(home).filter((name) => name.startsWith('linux-image-'))
  const name = names[0] ?? unpacked.sort().at(-1)
  if (name === undefined) {
    throw new Error(`no kernel of ${kernel.suites.join(', ')}: is the mirror reached?`)
  }
  const directory = join(home, name)
  if (!existsSync(directory)) fetch(names, home, directory)
  return describe(directory)
}

/** Packages of the newest kernel, "name=version", the image first; empty without the network. */
function candidate(kernel: Kernel, home: string): string[] {
  const sources = kernel.suites.map((suite) => {
    const archive = suite.endsWith('-security') ? 'debian-security' : 'debian'
    const mirror = process.env['DEBIAN_MIRROR'] ?? 'http://deb.debian.org'
    return `deb [signed-by=${keyring}] ${mirror}/${archive} ${suite} main\n`
  })
  for (const part of ['lists/partial', 'cache/archives/partial', 'preferences']) {
    mkdirSync(join(home, 'apt', part), { recursive: true })
  }
  writeFileSync(join(home, 'apt/sources.list'), sources.join(''))
  writeFileSync(join(home, 'apt/status'), '')
  try {
    apt(home, 'apt-get', ['update'])
    const [image] = depends(home, 'linux-image-amd64')
    if (image === undefined) return []
    const all = [image, ...depends(home, image)]
    return all.flatMap((name) => {
      const policy = apt(home, 'apt-cache', ['policy', name])
      const version = /Candidate: (\S+)/.exec(policy)?.[1]
      return version === undefined || version === '(none)' ? [] : [`${name}=${version}`]
    })
  } catch {
    return []
  }
}

function depends(home: string, name: string): string[] {
  const text = apt(home, 'apt-cache', ['depends', '--no-recommends', name])
  return [...text.matchAll(/^\s+Depends: (\S+)$/gm)]
    .map(([, dependency = '']) => dependency)
    .filter(isKernelPackage)
}

function fetch(names: readonly string[], home: string, directory: string): void {
  const downloads = join(home, 'downloads')
  const partial = `${directory}.partial`
  for (const old of readdirSync(home)) {
    if (old.startsWith('linux-image-')) rmSync(join(home, old), { recursive: true })
  }
  rmSync(downloads, { recursive: true, force: true })
  mkdirSync(downloads)
  apt(home, 'apt-get', ['download', ...names], downloads)
  for (const file of readdirSync(downloads)) {
    execFileSync('dpkg-deb', ['-x', join(downloads, file), partial])
  }
  rmSync(downloads, { recursive: true })
  const { base, release } = describe(partial)
  execFileSync('/usr/sbin/depmod', ['-b', base, release], { stdio: 'ignore' })
  renameSync(partial, directory)
}

/** Older packages have lib/modules, newer ones usr/lib/modules, and the image is in boot or beside the modules. */
function describe(directory: string): Unpacked {
  const base = [directory, join(directory, 'usr')].find((each) =>
    existsSync(join(each, 'lib/modules')),
  )
  const release = base && readdirSync(join(base, 'lib/modules'))[0]
  const image = [
    join(directory, `boot/vmlinuz-${release}`),
    join(base ?? '', 'lib/modules', release ?? '', 'vmlinuz'),
  ].find((each) => existsSync(each))
  if (base === undefined || release === undefined || image === undefined) {
    throw new Error(`${directory} has no kernel image with modules; remove it`)
  }
  return { release, image, base }
}

function apt(home: string, command: string, args: readonly string[], cwd = home): string {
  const options = {
    'Dir::Etc::sourcelist': join(home, 'apt/sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferencesparts': join(home, 'apt/preferences'),
    'Dir::State::lists': join(home, 'apt/lists'),
    'Dir::State::status': join(home, 'apt/status'),
    'Dir::Cache': join(home, 'apt/cache'),
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'APT::Sandbox::User': 'root',
  }
  const flags = Object.entries(options).flatMap(([key, value]) => [
    '-o',
    `${key}=${value}`,
  ])
  return execFileSync(command, [...flags, ...args], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
