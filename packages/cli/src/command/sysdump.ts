// SPDX-License-Identifier: Apache-2.0
// pillion sysdump: one archive for a bug report, without secrets.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { contractVersion, softwareVersion } from '@pillion/contract'
import { join } from 'node:path'
import { messageOf, nodePaths, paths, unixRequest, type KubeObject } from '@pillion/lab'
import type { Command } from 'commander'
import { lab, meshStatus } from '../client.ts'
import { clusterOptions, namespaceOption, withCluster } from '../cluster/connect.ts'
import { CliError } from '../errors.ts'
import { print, Steps } from '../output.ts'
import { examples } from './options.ts'
import {
  answerText,
  clusterPieces,
  collectAll,
  sysdumpLimits,
  type Piece,
} from '../sysdump/collect.ts'
import { redact, redactLog } from '../sysdump/redact.ts'
import { tarGzip } from '../sysdump/tar.ts'
import { usesLab, type TargetFlags } from '../target.ts'

interface Flags extends TargetFlags {
  /** File of the archive. */
  readonly output?: string
  readonly node?: readonly string[]
}

export function sysdumpCommand(program: Command): void {
  const command = program
    .command('sysdump')
    .option('-o, --output <file>', 'the archive; default pillion-sysdump-TIME.tar.gz')
    .option(
      '--node <name...>',
      `nodes whose processes are asked; default the first ${sysdumpLimits.nodes}`,
    )
    .description(
      'one .tar.gz for a bug report: objects, status, logs, metrics; no secrets',
    )
    .action(sysdump)
  namespaceOption(clusterOptions(command))
  examples(command, 'pillion sysdump --node node-1 node-2 -o bug.tar.gz')
}

async function sysdump(flags: Flags): Promise<void> {
  const steps = new Steps()
  const now = new Date()
  const stamp = now.toISOString().replace(/[-:]|\..*/g, '')
  const file = flags.output ?? `pillion-sysdump-${stamp}.tar.gz`
  const folder = `pillion-sysdump-${stamp}`
  const collect = async (pieces: readonly Piece[]) => {
    steps.at('collect', `0 of ${pieces.length}`)
    return collectAll(pieces, (done) =>
      steps.at('collect', `${done} of ${pieces.length}`),
    )
  }
  try {
    const entries = usesLab(flags)
      ? await collect(await labPieces(flags.node ?? []))
      : await withCluster(flags, async (cluster) => {
          const installation = { cluster, namespace: flags.namespace }
          // No API server, no archive; anything else that is missing is noted in it.
          await cluster.client.request({ path: '/version' })
          return collect(await clusterPieces(installation, flags.node ?? []))
        })
    const about = {
      path: 'pillion.json',
      text: `${JSON.stringify({ version: softwareVersion, contract: contractVersion, time: now.toISOString() }, null, 2)}\n`,
    }
    const all = [about, ...entries].map(({ path, text }) => ({
      path: `${folder}/${path}`,
      text,
    }))
    write(file, tarGzip(all, now.getTime()))
    steps.done()
    const missing = entries.filter(({ path }) => path.endsWith('.error.txt'))
    const lacking =
      missing.length === 0
        ? ''
        : `, of which ${missing.length} say why something could not be had`
    print(`${file}: ${all.length} files${lacking}`)
    print('secrets are removed; look into it before you give it away')
  } catch (error) {
    steps.fail()
    throw error
  }
}

function write(file: string, archive: Buffer): void {
  try {
    writeFileSync(file, archive, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    throw new CliError('failed', `${messageOf(error)}; name another file with -o`, {
      cause: error,
    })
  }
}

const labKinds = ['Mesh', 'L7Service', 'AccessPolicy', 'HTTPRoute', 'GRPCRoute']
const labObjectKinds = [...labKinds, 'NetworkPolicy', 'Node', 'Pod', 'Service']

/** Pieces of the lab: the same, over its sockets and log files. */
async function labPieces(wanted: readonly string[]): Promise<Piece[]> {
  const { nodes } = await meshStatus()
  const ask = (path: string, socket: string, at: string): Piece => ({
    path: `${at}${path.replaceAll('/', '-')}.${path.startsWith('/debug') ? 'json' : 'txt'}`,
    get: async () => answerText(path, await unixRequest({ socket, path })),
  })
  const names = nodes
    .map(({ name }) => name)
    .filter((name) => wanted.length === 0 || wanted.includes(name))
    .slice(0, sysdumpLimits.nodes)
  const agentPaths = ['/debug/config', '/debug/diff', '/debug/workloads', '/metrics']
  return [
    ...labObjectKinds.map((kind) => ({
      path: `objects/${kind.toLowerCase()}.json`,
      get: async () => {
        const objects = await lab<KubeObject[]>('GET', `/objects?kind=${kind}`)
        return `${JSON.stringify(redact(objects), null, 2)}\n`
      },
    })),
    ask('/debug/status', paths.operatorAdmin, 'operator'),
    ask('/metrics', paths.operatorAdmin, 'operator'),
    logPiece('operator/log.txt', join(paths.logs, 'operator.log')),
    logPiece('lab/log.txt', paths.supervisorLog),
    ...names.flatMap((name) => [
      ...agentPaths.map((path) =>
        ask(path, nodePaths(name).agentSocket, `nodes/${name}/agent`),
      ),
      ask('/metrics', nodePaths(name).proxySocket, `nodes/${name}/proxy`),
      { path: `nodes/${name}/log.txt`, get: () => labLog(`node/${name}`) },
    ]),
  ]
}

function logPiece(path: string, file: string): Piece {
  return { path, get: async () => logText(file) }
}

/** The end of a log. */
function logText(file: string): string {
  const lines = readFileSync(file, 'utf8').split('\n').slice(-sysdumpLimits.logLines)
  return redactLog(lines.join('\n'))
}

async function labLog(target: string): Promise<string> {
  const query = new URLSearchParams({ target, namespace: 'default' })
  const { files } = await lab<{ files: string[] }>('GET', `/log?${query.toString()}`)
  const texts = files
    .filter((file) => existsSync(file))
    .map((file) => `==> ${file} <==\n${logText(file)}`)
  return texts.join('\n')
}
