/** A client secret that takes another's place while the gateway runs: in its file, and at the authorization server. */
import { expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { Browser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'

const IN_FORCE = 'the changed configuration is in force'
const [FIRST, SECOND, THIRD] = ['first', 'second', 'third'].map((name) => `the-${name}-secret-of-32-characters`) as [
  string,
  string,
  string,
]

test('of two secrets the next is tried once and remembered, a changed file brings a third, and the log says which by position (TK-01, CF-02)', async () => {
  const provider = await startScriptedProvider({ clientSecret: FIRST })
  onTestFinished(() => provider.close())
  const url = `http://localhost:${await freePort()}`
  const gateway = await GatewayProcess.start({
    'sidegate.yaml': stringify({
      publicUrl: url,
      listen: { host: '127.0.0.1', port: Number(new URL(url).port) },
      management: { host: '127.0.0.1', port: await freePort() },
      provider: { issuer: provider.issuer, clientId: 'shop', clientSecretsFile: 'secrets' },
      routes: [{ path: '/', upstream: provider.origin }],
    }),
    secrets: `${FIRST}\n${SECOND}\n`,
  })
  const changes = () => gateway.lines.filter(({ event }) => event === 'client_secret.changed')
  /** A whole sign-in; how often the token endpoint was asked for it. */
  const signIn = async (): Promise<number> => {
    const browser = new Browser()
    onTestFinished(() => browser[Symbol.dispose]())
    const tab = browser.newTab()
    const before = provider.calls('token')
    const { headers } = await tab.navigate(`${url}/bff/login`, { from: 'none', follow: false })
    const callback = provider.authorize(new URL(headers.location ?? ''))
    const answer = await tab.navigate(callback, { from: provider.origin, follow: false })
    expect([answer.status, answer.headers.location]).toEqual([303, '/'])
    return provider.calls('token') - before
  }

  expect([await signIn(), changes()]).toEqual([1, []])
  provider.clientSecrets = [SECOND]
  expect(await signIn()).toBe(2)
  await gateway.until(({ event, position }) => event === 'client_secret.changed' && position === 2)
  expect(await signIn()).toBe(1)

  await gateway.write({ secrets: `${SECOND}\n${THIRD}\n` })
  await gateway.until(({ msg }) => msg === IN_FORCE)
  expect(await signIn()).toBe(1)
  provider.clientSecrets = [THIRD]
  expect(await signIn()).toBe(2)
  expect(await signIn()).toBe(1)

  await gateway.until(() => changes().length === 2)
  expect(changes().map(({ level, provider: name, position }) => [level, name, position])).toEqual([
    ['warn', 'default', 2],
    ['warn', 'default', 2],
  ])
  expect(JSON.stringify(gateway.lines)).not.toMatch(/-secret-of-32/)
})
