/**
 * The corpora of return addresses that are kept beside this repository, each line in a whole sign-in on raw sockets:
 * what the browser is sent to in the end is what counts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { benignReturns, hasCorpora, openRedirects } from '../support/corpus.ts'
import { CorpusWorld } from '../support/corpus-world.ts'
import { ProviderBrowser } from '../support/provider.ts'
import { exchange, get } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import type { RawMessage } from '../support/raw-http.ts'

const ORIGIN = 'https://app.example'
const NAVIGATION = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html']

describe.skipIf(!hasCorpora)('the corpora of return addresses, on raw sockets:', () => {
  let world: CorpusWorld
  // At the authorization server all are one user's, who has signed in before: the further logins are silent.
  const user = new ProviderBrowser()

  beforeAll(async () => {
    world = await CorpusWorld.start()
  })
  afterAll(() => world[Symbol.asyncDispose]())

  /** The refusal of the login, or the answer to its callback. */
  async function signIn(sent: string): Promise<RawMessage> {
    const login = await exchange(
      world.port,
      get(`/bff/login?returnTo=${sent}`, ...NAVIGATION, 'Sec-Fetch-Site: same-origin'),
    )
    judge(login)
    if (statusOf(login) !== 302) return login
    const cookie = valuesOf(login, 'set-cookie').map((line) => line.split(';', 1)[0])
    const callback = await world.provider.login(valuesOf(login, 'location')[0] ?? '', { browser: user })
    const answer = await exchange(
      world.port,
      get(callback.pathname + callback.search, ...NAVIGATION, `Cookie: ${cookie.join('; ')}`),
    )
    judge(answer)
    expect(statusOf(answer)).toBe(303)
    return answer
  }

  /** What holds for every answer. */
  function judge(answer: RawMessage): void {
    expect(statusOf(answer)).not.toBe(500)
    expect(JSON.stringify(answer.fields)).not.toMatch(/\\r|\\n/)
    expect(answer.body.toString()).not.toMatch(/<script>alert/)
  }

  function expectOwn(location: string | undefined): void {
    const url = new URL(location ?? '', `${ORIGIN}/bff/callback`)
    expect(url.origin).toBe(ORIGIN)
    expect([url.username, url.password]).toEqual(['', ''])
    expect(location).toMatch(/^\/(?![/\\])/)
  }

  // The corpus names another prefix for our own endpoints in two of its lines.
  const refused = openRedirects().map(({ section, sent }) => ({
    section: section.split(':', 1)[0] ?? '',
    sent: section.startsWith('refuse: the gateway') ? sent.replace('/AUTH/', '/BFF/').replace('/auth%', '/bff%') : sent,
  }))

  test('they have been read', () => {
    expect([refused.length > 200, benignReturns().length > 50]).toEqual([true, true])
  })

  test.each(refused)('$section: $sent', async ({ section, sent }) => {
    const answer = await signIn(sent)

    if (statusOf(answer) !== 303) {
      expect([400, 414, 431]).toContain(statusOf(answer))
      return
    }
    const [location] = valuesOf(answer, 'location')
    expectOwn(location)
    if (section === 'refuse') expect(location).toBe('/')
    else if (section === 'refuse-or-same-origin') {
      const same = decodeURIComponent(sent).replace(/\P{ASCII}+/gu, encodeURIComponent)
      expect(['/', same]).toContain(location)
    } else expect(location).toBe(decodeURIComponent(sent.split('&', 1)[0] ?? ''))
  })

  test.each(benignReturns())('it survives: $location', async ({ sent, location }) => {
    expect(valuesOf(await signIn(sent), 'location')).toEqual([location])
  })
})
