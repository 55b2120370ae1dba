/** A gateway process between a scripted browser, an authorization server and an API, and what each of them saw. */
import { createRemoteJWKSet, jwtVerify, type JWTPayload } from 'jose'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { examine } from '../../../src/commands/doctor.ts'
import type { Finding } from '../../../src/commands/doctor/finding.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { Browser, type Tab } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { GatewayProcess } from '../../support/gateway-process.ts'
import { RecordingUpstream } from '../../support/recording-upstream.ts'

/** `provider` as it stands in YAML. */
export type ProviderInput = Readonly<Record<string, unknown>>

export interface Interop {
  readonly url: string
  readonly process: GatewayProcess
  readonly upstream: RecordingUpstream
  readonly browser: Browser
  readonly tab: Tab
}

/** The configuration of a gateway at this address, as an operator would write it. */
function gatewayConfig(url: string, provider: ProviderInput, upstream: string, management = 9090): string {
  const claims = provider['userinfo'] === true ? 'userinfo:' : ''
  return stringify({
    publicUrl: url,
    listen: { host: '127.0.0.1', port: Number(new URL(url).port) },
    management: { host: '127.0.0.1', port: management },
    shutdown: { delay: '0s', grace: '1s' },
    provider,
    routes: [
      { path: '/api', upstream, identityHeaders: { 'X-Name': `${claims}name`, 'X-Email': `${claims}email` } },
      { path: '/', upstream, session: 'none' },
    ],
  })
}

/** Starts `sidegate` there for one test, and opens its start page in a new browser. */
export async function startGateway(url: string, provider: ProviderInput): Promise<Interop> {
  const upstream = await RecordingUpstream.start()
  onTestFinished(() => upstream.close())
  const yaml = gatewayConfig(url, provider, upstream.url, await freePort())
  const gateway = await GatewayProcess.start({ 'sidegate.yaml': yaml })
  await gateway.until(({ msg }) => msg === 'the provider’s metadata is good')
  const browser = new Browser()
  onTestFinished(() => browser[Symbol.dispose]())
  const tab = browser.newTab()
  await tab.navigate(`${url}/`)
  return { url, process: gateway, upstream, browser, tab }
}

/** What `sidegate doctor` says of this provider, in its words, each with the remedy where there is one. */
export async function doctorOn(url: string, provider: ProviderInput): Promise<Record<Finding['status'], string[]>> {
  await using upstream = await RecordingUpstream.start()
  const config = parseConfig(gatewayConfig(url, provider, upstream.url), join(tmpdir(), 'sidegate.yaml'), { env: {} })
  const findings = (await examine(config)).filter(({ about }) => about === 'provider')
  const of = (status: Finding['status']): string[] =>
    findings
      .filter((one) => one.status === status)
      .map(({ message, remedy }) => (remedy === undefined ? message : `${message} → ${remedy}`))
  return { ok: of('ok'), warning: of('warning'), failure: of('failure') }
}

/** The access token that the last call brought to the API. */
export function tokenAtTheApi({ upstream }: Pick<Interop, 'upstream'>, scheme = 'Bearer'): string {
  const [given, token] = (upstream.last.headers.authorization ?? '').split(' ')
  if (given !== scheme || !token) throw new Error(`the API got no ${scheme} token but ${given || 'nothing'}`)
  return token
}

/** What an API reads in a JWT that is signed by this issuer, whose keys it finds by discovery. */
export async function readAsTheApi(token: string, issuer: string): Promise<JWTPayload> {
  const metadata = (await (await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)).json()) as {
    jwks_uri: string // as discovery has it
  }
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(metadata.jwks_uri)), { issuer })
  return payload
}
