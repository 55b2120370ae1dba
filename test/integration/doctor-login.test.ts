import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { examineLogin } from '../../src/commands/doctor/login.ts'
import type { LoginFindings } from '../../src/commands/doctor/login.ts'
import { parseConfig } from '../../src/config/load.ts'
import { freePort } from '../support/free-port.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from '../support/provider.ts'
import type { TestProvider, TestProviderOptions } from '../support/provider.ts'
import { linesOf, merged } from '../support/misconfigurations/ward.ts'
import type { Tree } from '../support/misconfigurations/ward.ts'

const root = new URL('../..', import.meta.url).pathname
const API = 'https://orders.example.com'

let publicUrl: string

beforeAll(async () => {
  publicUrl = `http://localhost:${await freePort()}`
})

async function providerWith(options: TestProviderOptions = {}): Promise<TestProvider> {
  const provider = await startProvider({ redirectUris: [`${publicUrl}/bff/callback`], ...options })
  onTestFinished(() => provider.close())
  return provider
}

function configuration(provider: TestProvider, changes: Tree = {}): Tree {
  return merged(
    {
      publicUrl,
      listen: { port: Number(new URL(publicUrl).port) },
      provider: {
        issuer: provider.issuer,
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        scopes: ['openid', 'offline_access'],
      },
      routes: [{ path: '/api', upstream: 'http://127.0.0.1:1' }],
    },
    changes,
  )
}

/** A login as doctor runs it; `visit` is the operator with a browser, who gets the printed address. */
async function loginWith(
  config: Tree,
  visit: (url: URL, input: PassThrough) => Promise<unknown>,
  redirectUri?: string,
): Promise<LoginFindings & { said: string }> {
  const loaded = parseConfig(stringify(config), 'sidegate.yaml', { env: {} }).config
  const input = new PassThrough()
  const printed = Promise.withResolvers<URL>()
  let said = ''
  const say = (line: string) => {
    said += `${line}\n`
    const [address] = /http:\/\/127\.0\.0\.1:\d+\/auth\?\S+/.exec(line) ?? []
    if (address !== undefined) printed.resolve(new URL(address))
  }
  const { provider } = loaded
  if (!provider) throw new Error('one provider is configured')
  const login = examineLogin({ name: 'default', config: loaded, provider, redirectUri, input, say })
  await visit(await printed.promise, input)
  return { ...(await login), said }
}

function signIn(provider: TestProvider): (url: URL) => Promise<Response> {
  return async (url) => fetch(await provider.login(url))
}

test('one real login in a browser is judged and shown without a token in it; nothing that it got stays alive', async () => {
  const provider = await providerWith({ api: API })
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-login-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const api = createServer((_request, response) => response.end()).listen(0, '127.0.0.1')
  await once(api, 'listening')
  onTestFinished(() => void api.close())
  // A TCP server that listens on a port has an AddressInfo.
  const { port } = api.address() as { port: number }
  const config = configuration(provider, {
    provider: { scopes: ['openid', 'profile', 'offline_access', 'api'] },
    routes: [{ path: '/api', upstream: `http://127.0.0.1:${port}`, allow: { groups: 'sales' } }],
  })
  writeFileSync(join(directory, 'sidegate.yaml'), stringify(config), { mode: 0o600 })
  const child = spawn(process.execPath, [join(root, 'src/main.ts'), 'doctor', '--login', '--json'], {
    cwd: directory,
    env: { PATH: process.env['PATH'] ?? '' },
  })
  const output = text(child.stdout)
  const exited = once(child, 'exit')
  const callback = Promise.withResolvers<URL>()
  let messages = ''
  child.stderr.on('data', (chunk: Buffer) => {
    messages += chunk.toString()
    const [address] = /http:\/\/127\.0\.0\.1:\d+\/auth\?\S+(?=\s)/.exec(messages) ?? []
    if (address !== undefined) callback.resolve(provider.login(address))
  })

  const landed = await fetch(await callback.promise)

  expect(landed.headers.get('cache-control')).toBe('no-store')
  expect(await landed.text()).toContain('this window can be closed')
  expect((await exited)[0]).toBe(0)
  const stdout = await output
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    login: {
      scopes: { asked: ['openid', 'profile', 'offline_access', 'api'] },
      idToken: { algorithm: 'RS256', lifetimeSeconds: 600, claims: expect.arrayContaining(['sub', 'name', 'groups']) },
      accessToken: { kind: 'jwt', type: 'at+jwt', audience: [API], lifetimeSeconds: expect.any(Number) },
      refreshToken: 'replaced at each use',
    },
  })
  expect(stdout).toContain('route /api: the claim groups is there')
  const code = (await callback.promise).searchParams.get('code') ?? ''
  expect(provider.issued.length).toBeGreaterThanOrEqual(5)
  for (const secret of [...provider.issued, code, CLIENT_SECRET, 'Alice'])
    expect(stdout + messages).not.toContain(secret)
  expect(provider.issued.filter((token) => provider.isActive(token))).toEqual([])
})

test('an opaque access token and a missing refresh token are told with remedies, which put both right', async () => {
  const provider = await providerWith({ client: { grant_types: ['authorization_code'] } })
  const before = await loginWith(configuration(provider, { provider: { scopes: ['openid'] } }), signIn(provider))

  expect(before.report).toMatchObject({ accessToken: { kind: 'opaque' }, refreshToken: 'none' })
  const lines = linesOf(before.findings).join('\n')
  expect(lines).toMatch(
    /warning login: the access token is opaque.*\/api cannot verify it.*→ name the API: write resource:/,
  )
  expect(lines).toMatch(
    /warning login: no refresh token came back: .* after \d+ s → add offline_access to scopes, or allow/,
  )

  const allowed = await providerWith({ resources: { [API]: 'orders' } })
  const after = await loginWith(configuration(allowed, { provider: { resource: API } }), signIn(allowed))
  expect(linesOf(after.findings).filter((line) => !line.startsWith('ok'))).toEqual([])
  expect(after.report).toMatchObject({ accessToken: { kind: 'jwt', audience: [API] } })
})

test('a token for a route of its own is got, named and judged', async () => {
  const provider = await providerWith({ resources: { [API]: 'orders' } })
  const route = { path: '/api', upstream: 'http://127.0.0.1:1' }
  const login = { provider: { resource: [API], scopes: ['openid', 'offline_access', 'orders'] } }
  const withToken = (resource: string) =>
    configuration(provider, { ...login, routes: [{ ...route, token: { resource } }] })

  const good = await loginWith(withToken(API), signIn(provider))
  expect(good.report?.routes).toMatchObject([{ path: '/api', token: { kind: 'jwt', audience: [API] } }])

  const bad = await loginWith(withToken('https://elsewhere.example.com'), signIn(provider))
  expect(bad.report?.routes).toEqual([{ path: '/api', token: 'refused' }])
  expect(linesOf(bad.findings).join('\n')).toMatch(/failure login: route \/api: the server gives no token for it/)
})

test('a claim that a rule reads and that did not come is a warning with what to do', async () => {
  const provider = await providerWith()
  const routes = [{ path: '/api', upstream: 'http://127.0.0.1:1', allow: { groups: 'sales' } }]
  const { findings } = await loginWith(configuration(provider, { routes }), signIn(provider))

  expect(linesOf(findings).join('\n')).toMatch(
    /warning login: route \/api: the claim groups did not come: allow refuses everybody → let the server put it/,
  )
})

test('a foreign callback is turned away, and the sign-in goes on', async () => {
  const provider = await providerWith()
  const statuses: number[] = []
  const { report } = await loginWith(configuration(provider), async (url) => {
    for (const path of ['/bff/callback?code=x&state=of-another', '/elsewhere'])
      statuses.push((await fetch(`${publicUrl}${path}`)).status)
    await signIn(provider)(url)
  })

  expect(statuses).toEqual([400, 404])
  expect(report).toBeDefined()
})

test('a login that the user cancels is told with what to do', async () => {
  const provider = await providerWith()
  const { findings, report } = await loginWith(configuration(provider), async (url) =>
    fetch(await provider.login(url, { user: 'nobody' })),
  )

  expect(report).toBeUndefined()
  expect(linesOf(findings)).toEqual([
    expect.stringMatching(/^failure login: the login failed: .*access_denied → sign in as a user who may/),
  ])
})

test('where publicUrl is elsewhere, the operator pastes the address at which the browser ended', async () => {
  const provider = await providerWith({ redirectUris: ['https://app.example.com/bff/callback'] })
  const config = configuration(provider, {
    publicUrl: 'https://app.example.com',
    provider: { responseMode: 'form_post' },
  })
  const { report, said } = await loginWith(config, async (url, input) => {
    input.write('hello\n')
    input.write('https://app.example.com/bff/callback?code=abc&state=of-another\n')
    input.write(`${(await provider.login(url)).href}\n`)
  })

  expect(said).toContain('copy the address from there')
  expect(said.match(/That is not it/g)).toHaveLength(2)
  expect(said).not.toContain('code=abc')
  expect(report).toBeDefined()
})

test('while the gateway has the port, the operator pastes as well', async () => {
  const provider = await providerWith()
  const gateway = createServer((_request, response) => response.writeHead(400).end())
  gateway.listen(Number(new URL(publicUrl).port), 'localhost')
  await once(gateway, 'listening')
  onTestFinished(() => {
    gateway.close()
    gateway.closeAllConnections()
  })

  const { report } = await loginWith(configuration(provider), async (url, input) => {
    input.end(`${(await provider.login(url)).href}\n`)
  })

  expect(report).toBeDefined()
})

test('--redirect-uri comes back to another loopback address', async () => {
  const redirectUri = `http://127.0.0.1:${await freePort()}/doctor`
  const provider = await providerWith({ redirectUris: [redirectUri] })
  const { report } = await loginWith(configuration(provider), signIn(provider), redirectUri)

  expect(report).toBeDefined()
})
