// SPDX-License-Identifier: Apache-2.0
// The victim's clients, in a process of their own: 200 requests a second at service 3 of the proxy at port argv[2] from
// identity 256 + 9, whether the answers come or not (open loop): 100 over 64 kept connections, 100 over one each. A
// request's time counts from when it was due. "begin" starts a phase, "end" is answered with what the requests due in it got.
import http from 'node:http'

const everyMs = 10
const patienceMs = 15_000

/** Milliseconds of each request, and why some have no good answer. */
export type Phase = { kept: number[]; fresh: number[]; failures: string[] }

let phase: Phase = { kept: [], fresh: [], failures: [] }
let open = 0
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
const options = {
  ...{ host: '127.0.0.3', port: Number(process.argv[2]), path: '/fine' },
  ...{ localAddress: '127.0.1.9', timeout: patienceMs },
}

function ask(dueMs: number, kind: 'kept' | 'fresh'): void {
  const mine = phase
  open++
  const over = (failure: string | undefined): void => {
    open--
    mine[kind].push(performance.now() - dueMs)
    if (failure !== undefined) mine.failures.push(`${kind}: ${failure}`)
  }
  const request = http.get(
    { ...options, agent: kind === 'kept' ? agent : false },
    (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('close', () => {
        over(response.statusCode === 200 && body === 'fine' ? undefined : body)
      })
    },
  )
  let answered = false
  request.once('response', () => (answered = true))
  request.on('timeout', () => request.destroy(new Error(`nothing in ${patienceMs} ms`)))
  request.on('error', (error) => {
    if (!answered) over(error.message)
  })
}

let dueMs = performance.now()
setInterval(() => {
  for (; dueMs <= performance.now(); dueMs += everyMs) {
    ask(dueMs, 'kept')
    ask(dueMs, 'fresh')
  }
}, 2)

process.on('message', (word) => {
  if (word === 'begin') {
    phase = { kept: [], fresh: [], failures: [] }
    process.send?.('begun')
  } else report(phase)
})
process.once('disconnect', () => process.exit(0))

/** What was asked before is waited for; the load goes on as a phase that nobody looks at. */
function report(ended: Phase): void {
  const due = ended.kept.length + ended.fresh.length + open
  phase = { kept: [], fresh: [], failures: [] }
  const timer = setInterval(() => {
    if (ended.kept.length + ended.fresh.length < due) return
    clearInterval(timer)
    process.send?.(ended)
  }, 10)
}
