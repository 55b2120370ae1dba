/** Where doctor is shown one thing out of order: everything else is well, and each remedy can be followed. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { parse, stringify } from 'yaml'
import { examine } from '../../../src/commands/doctor.ts'
import type { Finding } from '../../../src/commands/doctor/finding.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { freePort } from '../free-port.ts'
import { CLIENT_ID, CLIENT_SECRET, clientMetadata, startProvider } from '../provider.ts'
import type { TestProvider } from '../provider.ts'

/** A configuration as it stands in YAML, or a part of one. */
export type Tree = Record<string, unknown>

/** One thing out of order, and how what doctor says about it is followed. */
export interface State {
  readonly config: Tree
  /** Does what the remedy says, with the groups of its pattern, and resolves the configuration as it then is. */
  readonly follow: (said: readonly string[]) => Tree | Promise<Tree>
}

export interface Misconfiguration {
  readonly title: string
  readonly status: 'failure' | 'warning'
  readonly about: string
  readonly finding: RegExp
  /** Of the whole remedy; what is to be written or run is in its groups. */
  readonly remedy: RegExp
  /** The ✔ that takes the finding's place. */
  readonly fine?: RegExp
  readonly state: (ward: Ward) => State | Promise<State>
}

/** Servers that are well, for one file of tests. */
export class Ward implements AsyncDisposable {
  readonly provider: TestProvider
  readonly publicUrl: string
  readonly apiUrl: string
  readonly #api: Server

  private constructor(provider: TestProvider, publicUrl: string, api: Server) {
    this.provider = provider
    this.publicUrl = publicUrl
    this.#api = api
    this.apiUrl = `http://127.0.0.1:${portOf(api)}`
  }

  static async open(): Promise<Ward> {
    const publicUrl = `http://localhost:${await freePort()}`
    // Some of the mistakes are about http and https.
    const origins = [publicUrl, publicUrl.replace('http:', 'https:')]
    const own = {
      redirectUris: origins.map((origin) => `${origin}/bff/callback`),
      postLogoutRedirectUris: origins.map((origin) => `${origin}/bff/logout/callback`),
    }
    const client = (id: string, changes: Tree) => clientMetadata({ ...own, client: { client_id: id, ...changes } })
    const provider = await startProvider({
      ...own,
      otherClients: [
        client('elsewhere', { redirect_uris: ['http://localhost:1/bff/callback'] }),
        client('stays', { post_logout_redirect_uris: [] }),
      ],
    })
    const api = createServer((_request, response) => response.end()).listen(0, '127.0.0.1')
    await once(api, 'listening')
    return new Ward(provider, publicUrl, api)
  }

  /** A configuration with which everything is well; `changes` are laid over it, mappings member by member. */
  configuration(changes: Tree = {}): Tree {
    return merged(
      {
        publicUrl: this.publicUrl,
        listen: { port: Number(new URL(this.publicUrl).port) },
        provider: {
          issuer: this.provider.issuer,
          clientId: CLIENT_ID,
          clientSecret: CLIENT_SECRET,
          scopes: ['openid', 'offline_access'],
        },
        routes: [{ path: '/api', upstream: this.apiUrl }],
      },
      changes,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#api.close()
    await this.provider.close()
  }
}

/** What doctor finds with this configuration. */
export function findingsOf(config: Tree): Promise<Finding[]> {
  return examine(parseConfig(stringify(config), join(tmpdir(), 'sidegate.yaml'), { env: {} }))
}

/** The lines that doctor prints, for messages of failed tests. */
export function linesOf(findings: readonly Finding[]): string[] {
  return findings.map(({ status, about, message, remedy = '' }) => `${status} ${about}: ${message} → ${remedy}`)
}

/** Laid over member by member; `undefined` takes a key out. */
export function merged(base: Tree, over: Tree): Tree {
  const result = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const old = result[key]
    if (value === undefined) delete result[key]
    else result[key] = isTree(old) && isTree(value) ? merged(old, value) : value
  }
  return result
}

/** YAML as a remedy prints it, to be laid over a configuration. */
export function written(yaml: string | undefined): Tree {
  // A remedy prints a mapping.
  return parse(yaml ?? '') as Tree
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A server that listens until the test ends. */
export async function listening<S extends Server>(server: S, port = 0): Promise<S> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return server
}

export function portOf(server: Server): number {
  // A TCP server that listens on a port has an AddressInfo.
  return (server.address() as AddressInfo).port
}
