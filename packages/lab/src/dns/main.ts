// SPDX-License-Identifier: Apache-2.0
// The lab's DNS server: a process in an ordinary pod, behind an ordinary Service. `main.ts RECORDS-FILE [PORT]`.
import { readFileSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { serveDns } from './server.ts'
import type { Zone } from './zone.ts'

const [file = '', port = '53'] = process.argv.slice(2)

let zone: Zone = {}
function load(): void {
  try {
    zone = JSON.parse(readFileSync(file, 'utf8')) as Zone
  } catch (error) {
    console.error(`records stay as they were: ${String(error)}`)
  }
}

load()
// The directory, not the file: the supervisor replaces the file by rename.
watch(dirname(file), (_event, name) => {
  if (name === basename(file)) load()
})
await serveDns(() => zone, Number(port))
console.log(`serving ${file} on port ${port}`)
