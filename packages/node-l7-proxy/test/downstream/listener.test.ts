// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { startProxy } from '../support/proxy.ts'
import { service } from '../support/resources.ts'

t.test('the kernel keeps 4096 connections until they are accepted', async (t) => {
  const proxy = await startProxy([service(1, 'web', L7Protocol.HTTP)])
  t.teardown(async () => proxy.stop())
  // Of a listening socket Send-Q is the backlog; node's own listen() made it 511.
  const sockets = execFileSync('ss', ['-ltnH', `sport = :${proxy.port}`]).toString()
  const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
  t.equal(Number(sockets.split(/\s+/)[2]), Math.min(4096, most))
})

t.test('a worker accepts sixteen connections in a turn of its loop', async (t) => {
  const proxy = await startProxy([service(1, 'web', L7Protocol.HTTP)])
  t.teardown(async () => proxy.stop())
  const dump = JSON.parse((await proxy.admin('/debug/config')).body) as {
    workers: number[]
  }
  const line = execFileSync('ss', ['-ltnHe', `sport = :${proxy.port}`]).toString()
  const inode = /ino:(\d+)/.exec(line)?.[1]
  const directory = `/proc/${dump.workers[0]}/fd`
  const links = readdirSync(directory).map((fd) => {
    try {
      return readlinkSync(`${directory}/${fd}`)
    } catch {
      return '' // closed meanwhile
    }
  })
  t.equal(links.filter((link) => link === `socket:[${inode}]`).length, 16)
})
