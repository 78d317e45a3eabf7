// SPDX-License-Identifier: Apache-2.0
// On what it was measured.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly kernel: string
}

export function machine(): Machine {
  const processors = cpus()
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    kernel: release(),
  }
}

/** First line that a program prints about its version, on either stream. */
function firstLine(program: string, args: readonly string[]): string {
  try {
    const text = execFileSync('sh', ['-c', '"$0" "$@" 2>&1 || true', program, ...args], {
      encoding: 'utf8',
    })
    return text.split('\n')[0]?.trim() ?? ''
  } catch {
    return 'not found'
  }
}

/** Versions of everything in the picture. */
export function versions(): Record<string, string> {
  const root = join(import.meta.dirname, '..')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  return {
    pillion: version,
    commit: firstLine('git', ['-C', root, 'rev-parse', '--short', 'HEAD']),
    node: process.version,
    nginx: firstLine('nginx', ['-v']),
    haproxy: firstLine('haproxy', ['-v']),
    nghttpx: firstLine('nghttpx', ['--version']),
    wrk: firstLine('wrk', ['-v']),
    h2load: firstLine('h2load', ['--version']),
  }
}
