/** A private certificate authority and what it signs, made by openssl for one test. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificate {
  readonly cert: string
  readonly key: string
  readonly certFile: string
  readonly keyFile: string
}

export interface Authority {
  /** Its own certificate: what clients are to trust. */
  readonly ca: string
  readonly caFile: string
  /** A certificate for a DNS name, or an IP address. */
  issue(name: string): Promise<Certificate>
  [Symbol.asyncDispose](): Promise<void>
}

/** Elliptic-curve keys, good for two days. */
export async function createAuthority(): Promise<Authority> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-ca-'))
  const file = (name: string) => join(directory, name)
  const openssl = (...args: string[]) => run('openssl', args, { cwd: directory })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const authority = ['-subj', '/CN=Sidegate test authority', '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2']
  await openssl('req', '-x509', ...key, ...authority)
  let issued = 0
  return {
    ca: await readFile(file('ca.crt'), 'utf8'),
    caFile: file('ca.crt'),
    issue: async (name) => {
      issued += 1
      const id = `leaf-${issued}`
      const kind = /^[\d.]+$|:/.test(name) ? 'IP' : 'DNS'
      await writeFile(file(`${id}.ext`), `subjectAltName=${kind}:${name}\n`)
      await openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${id}.key`, '-out', `${id}.csr`)
      const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${id}.ext`]
      await openssl('x509', '-req', '-in', `${id}.csr`, '-out', `${id}.crt`, ...signing)
      return {
        cert: await readFile(file(`${id}.crt`), 'utf8'),
        key: await readFile(file(`${id}.key`), 'utf8'),
        certFile: file(`${id}.crt`),
        keyFile: file(`${id}.key`),
      }
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}
