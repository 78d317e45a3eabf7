// SPDX-License-Identifier: Apache-2.0
// HTTP/2 without TLS, by prior knowledge; answers with its name and a trailer.
import { createServer } from 'node:http2'

const name = process.env['POD_NAME'] ?? 'unknown'

createServer((request, response) => {
  response.setHeader('x-pod', name)
  response.addTrailers({ 'x-trailer': 'yes' })
  response.end(`${name}\n`)
  request.resume()
}).listen(8080, '::')
