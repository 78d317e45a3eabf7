// SPDX-License-Identifier: Apache-2.0
// Manifests of the root tests: a web server on node-1, a client on each node.

const server = `
const { createServer } = require('node:http')
const { existsSync } = require('node:fs')
createServer((req, res) => {
  if (req.url === '/crash') process.exit(9)
  if (req.url === '/ready') { res.statusCode = existsSync('/run/pillion-lab/not-ready') ? 503 : 200 }
  res.end(JSON.stringify({ pod: process.env.POD, from: req.socket.remoteAddress, dir: process.env.LAB_DIR }))
}).listen(8080, '::')
`

const webContainer = {
  command: ['node', '-e', server],
  env: [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
  ports: [{ name: 'http', containerPort: 8080 }],
  readinessProbe: {
    httpGet: { path: '/ready', port: 'http' },
    periodSeconds: 1,
    failureThreshold: 1,
  },
}

const pod = (name: string, nodeName: string, container: object, labels: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 't', labels },
  spec: { nodeName, terminationGracePeriodSeconds: 1, containers: [container] },
})

const sleeper = { command: ['sleep', 'infinity'] }

export const manifests: Readonly<Record<string, object>> = {
  web: pod('web', 'node-1', webContainer, { app: 'web' }),
  'client-1': pod('client-1', 'node-1', sleeper),
  'client-2': pod('client-2', 'node-2', sleeper),
  exec: pod('exec', 'node-2', {
    ...sleeper,
    readinessProbe: { exec: { command: ['test', '-d', '/proc'] } },
  }),
  service: {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 't' },
    spec: {
      clusterIP: 'None',
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 8080 }],
    },
  },
  deployment: {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'many', namespace: 't' },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'many' } },
      template: {
        metadata: { labels: { app: 'many' } },
        spec: { containers: [sleeper] },
      },
    },
  },
}

/** File names and contents of a manifest directory. */
export function manifestFiles(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(manifests).map(([name, object]) => [
      `${name}.yaml`,
      JSON.stringify(object),
    ]),
  )
}
