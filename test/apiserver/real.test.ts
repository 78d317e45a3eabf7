// SPDX-License-Identifier: Apache-2.0
// How a real server is found, and the certificates that it and its users get.
import { createPublicKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Authority } from '../support/apiserver/certificate.ts'
import { realAssets } from '../support/apiserver/real.ts'

t.test('KUBEBUILDER_ASSETS: nothing, or all of it', async (t) => {
  const before = process.env['KUBEBUILDER_ASSETS']
  const dir = mkdtempSync(join(tmpdir(), 'pillion-assets-'))
  t.teardown(() => {
    rmSync(dir, { recursive: true })
    if (before === undefined) delete process.env['KUBEBUILDER_ASSETS']
    else process.env['KUBEBUILDER_ASSETS'] = before
  })
  process.env['KUBEBUILDER_ASSETS'] = ''
  t.equal(realAssets(), undefined)
  process.env['KUBEBUILDER_ASSETS'] = dir
  t.throws(realAssets, /no program kube-apiserver in it/, 'a wrong folder is not "none"')
})

t.test('certificates', async (t) => {
  const authority = new Authority()
  const ca = new X509Certificate(authority.cert)
  t.equal(ca.ca, true)
  const key = createPublicKey(authority.cert)
  const server = new X509Certificate(authority.serverCertificate().cert)
  t.ok(server.verify(key) && server.checkIssued(ca))
  t.equal(server.checkIP('127.0.0.1'), '127.0.0.1')
  t.equal(server.checkHost('localhost'), 'localhost')
  const pair = authority.userCertificate('bob', ['system:masters', 'b'])
  const user = new X509Certificate(pair.cert)
  t.ok(user.verify(key))
  t.equal(user.subject, 'O=system:masters\nO=b\nCN=bob', 'groups are organisations')
  t.match(user.keyUsage, ['1.3.6.1.5.5.7.3.2'])
  t.not(user.verify(createPublicKey(new Authority().cert)), true)
})
