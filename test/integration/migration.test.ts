/** The configurations of docs/migration/, run: the old addresses, the API call, what the upstream is told, the sign-out. */
import { exportJWK, generateKeyPair } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { blockOf } from '../support/documents.ts'
import { freePort } from '../support/free-port.ts'
import { loadMounted } from '../support/mounted-config.ts'
import type { Tab } from '../support/browser.ts'
import type { TestProviderOptions } from '../support/provider.ts'
import { type ConfigInput, startWorld, type World } from '../support/world.ts'

/** A page's configuration with the places of a test for those of the page; everything else is as it stands there. */
async function worldOf(
  text: string,
  credentials: { config?: ConfigInput; provider?: TestProviderOptions } = {},
): Promise<{ world: World; tab: Tab; base: string }> {
  expect(loadMounted(text).warnings).toEqual([])
  // Loaded above, so it has the shape of the schema.
  const page = parse(text) as ConfigInput & {
    basePath?: string
    session: Record<string, unknown>
    provider: { scopes: string[] }
    routes: { path: string; session?: string }[]
  }
  const { keysFile: _, ...session } = page.session
  const { publicUrl: _url, store: _store, provider, trustedProxies: _proxies, ...rest } = page
  const publicUrl = `http://localhost:${await freePort()}`
  const base = `${publicUrl}${page.basePath ?? '/bff'}`
  const world = await startWorld({
    provider: {
      redirectUris: [`${base}/callback`],
      postLogoutRedirectUris: [`${base}/logout/callback`],
      // A scope of the page that this server does not have otherwise.
      configuration: { scopes: ['openid', 'offline_access', ...provider.scopes] },
      ...credentials.provider,
    },
    config: ({ upstream }) => ({
      ...rest,
      publicUrl,
      listen: { port: Number(new URL(publicUrl).port) },
      session,
      provider: { scopes: provider.scopes, ...('userinfo' in provider && { userinfo: true }), ...credentials.config },
      routes: page.routes.map((route) =>
        'spa' in route
          ? { ...route, spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname } }
          : { ...route, upstream },
      ),
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const tab = world.browser().newTab()
  const open = page.routes.find(({ session: rule }) => rule === 'none')
  await tab.navigate(`${publicUrl}${open?.path}`)
  return { world, tab, base }
}

/** Follows the old link to the sign-in, and signs in. */
async function signIn(tab: Tab, link: string): Promise<string> {
  await tab.navigate(link)
  return (await tab.submit('alice')).url
}

describe('docs/migration/oauth2-proxy.md', () => {
  const text = blockOf('docs/migration/oauth2-proxy.md', 'after')

  test('the old link signs in, and the upstreams are told who it is by the headers that they know', async () => {
    const { world, tab, base } = await worldOf(text)

    expect((await tab.fetch('/api/orders')).status).toBe(401)
    expect(await signIn(tab, `${base}/login?rd=%2Forders`)).toBe(`${world.url}/orders`)
    expect((await tab.fetch('/api/orders')).status).toBe(200)

    expect(world.upstream.last.headers).toMatchObject({
      authorization: expect.stringMatching(/^Bearer /),
      'x-forwarded-user': 'alice',
      'x-forwarded-email': 'alice@example.com',
    })
  })

  test('a page begins the sign-in in place, and what was left out of it needs none', async () => {
    const { world, tab } = await worldOf(text)

    expect(world.upstream.last.url).toBe('/public')
    const page = await tab.navigate(`${world.url}/orders`)
    expect(page.url).toContain(world.provider.issuer)
    expect((await tab.submit('alice')).url).toBe(`${world.url}/orders`)
  })

  test('the user is told, and the sign-out ends the session at the server, too', async () => {
    const { tab, base } = await worldOf(text)
    await signIn(tab, `${base}/login?rd=%2F`)

    expect((await tab.fetch(`${base}/user`)).json()).toMatchObject({ sub: 'alice' })
    const { redirectUrl } = (await tab.fetch(`${base}/logout`, { method: 'POST' })).json() as { redirectUrl: string }
    await tab.navigate(new URL(redirectUrl, base))
    expect((await tab.submit()).url).toContain(`${base}/logout/callback`)
    expect((await tab.fetch(`${base}/session`)).json()).toMatchObject({ authenticated: false })
  })
})

describe('docs/migration/wonderwall.md', () => {
  const text = blockOf('docs/migration/wonderwall.md', 'after')

  test('the old link and the old key sign in, every page does, and what was left out of it needs none', async () => {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
    const jwk = { ...(await exportJWK(privateKey)), kid: 'client', alg: 'RS256' }
    const { world, tab, base } = await worldOf(text, {
      config: { clientAuthentication: 'private_key_jwt', privateKey: JSON.stringify(jwk), clientSecret: undefined },
      provider: {
        client: {
          token_endpoint_auth_method: 'private_key_jwt',
          client_secret: undefined,
          jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'client', alg: 'RS256', use: 'sig' }] },
        },
      },
    })

    expect((await tab.fetch('/internal/metrics')).status).toBe(200)
    expect((await tab.fetch('/orders')).status).toBe(401)
    expect(await signIn(tab, `${base}/login?redirect=%2Forders`)).toBe(`${world.url}/orders`)
    expect((await tab.fetch('/orders')).status).toBe(200)

    expect(world.upstream.last.headers.authorization).toMatch(/^Bearer /)
    expect(world.upstream.last.headers.host).toBe(new URL(world.url).host)
    expect((await tab.fetch(`${base}/session`)).json()).toMatchObject({
      authenticated: true,
      expiresInSeconds: expect.any(Number),
      idleExpiresInSeconds: expect.any(Number),
      accessToken: { expiresInSeconds: expect.any(Number) },
    })
    expect((await tab.fetch(`${base}/session/refresh`, { method: 'POST' })).status).toBe(200)
    expect((await tab.fetch(`${base}/logout?local=true`, { method: 'POST' })).status).toBe(204)
  })
})

describe('docs/migration/duende-bff.md', () => {
  const text = blockOf('docs/migration/duende-bff.md', 'after')
  const withHeader = { headers: { 'X-CSRF': '1' } }

  test('the old link signs in, and the APIs are called by the old paths with the old header', async () => {
    const { world, tab, base } = await worldOf(text)

    expect((await tab.fetch('/api/catalogue/7')).status).toBe(200)
    expect(world.upstream.last).toMatchObject({ url: '/7' })
    expect(world.upstream.last.headers.authorization).toBeUndefined()
    expect(await signIn(tab, `${base}/login?returnUrl=%2Forders`)).toBe(`${world.url}/orders`)
    expect((await tab.fetch('/api/orders/7')).headers['sidegate-error']).toBe('csrf_rejected')
    expect((await tab.fetch('/api/orders/7', withHeader)).status).toBe(200)

    expect(world.upstream.last.url).toBe('/v1/7')
    expect(world.upstream.last.headers.authorization).toMatch(/^Bearer /)
  })

  test('the line that reads the user reads it, signed in and not', async () => {
    const { tab, base } = await worldOf(text)
    /** The page's code, with the tab's `fetch` for the browser's. */
    const run = async () => {
      // oxlint-disable-next-line typescript/no-implied-eval -- the code of our own page is what is run
      const code = new Function(
        'fetch',
        `return (async () => { ${blockOf('docs/migration/duende-bff.md', 'user')}; return name })()`,
      )
      const answer = async (path: string, options: object) => {
        const got = await tab.fetch(path, options)
        return { json: () => Promise.resolve(got.json()) }
      }
      return (code as (fetch: unknown) => Promise<unknown>)(answer) // just made
    }

    expect(await run()).toBeUndefined()
    await signIn(tab, `${base}/login`)
    expect(await run()).toBe('Alice Liddell')
  })
})
