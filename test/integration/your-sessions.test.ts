import { expect, onTestFinished, test } from 'vitest'
import { type ConfigInput, startWorld, type World } from '../support/world.ts'

async function world(config: ConfigInput = {}): Promise<World> {
  const started = await startWorld({ config })
  onTestFinished(() => started[Symbol.asyncDispose]())
  return started
}

test('the page lists the user’s own sessions and ends any of them, by forms that have no script', async () => {
  const there = await world()
  const { tab } = await there.signedIn()
  const second = await there.signedIn()
  const stranger = await there.signedIn({ user: 'bob' })

  const page = await tab.navigate(`${there.url}/bff/your-sessions`)
  expect(page.status).toBe(200)
  expect(page.text.match(/<li>/g)).toHaveLength(2)
  expect(page.text).toContain('this browser')

  const after = await tab.submit(/name="ref" value="([\w-]{16})"/.exec(page.text)?.[1])
  expect(after.hops.map(({ status }) => status)).toEqual([303, 200])
  expect(after.text.match(/<li>/g)).toHaveLength(1)
  expect((await second.tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
  expect((await stranger.tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: true })
})

test('the page ends all others at once, and this one by its own link', async () => {
  const there = await world()
  const { tab } = await there.signedIn()
  const others = [await there.signedIn(), await there.signedIn()]

  await tab.navigate(`${there.url}/bff/your-sessions`)
  const page = await tab.submit('true')
  for (const other of others) {
    expect((await other.tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
  }
  expect(page.text).not.toContain('Sign out everywhere else')

  await tab.click('/bff/logout?t=')
  expect((await tab.fetch(`${there.url}/bff/session`, { from: there.url })).json()).toMatchObject({
    authenticated: false,
  })
})

test('a name of somebody else’s session ends nothing, and neither does a form without one', async () => {
  const there = await world()
  const { tab } = await there.signedIn()
  const victim = await there.signedIn({ user: 'bob' })
  const { sessions } = (await victim.tab.fetch('/bff/sessions')).json() as { sessions: { ref: string }[] } // as documented

  const post = (form: Record<string, string>) =>
    tab.navigate(`${there.url}/bff/your-sessions`, { method: 'POST', form: new URLSearchParams(form) })

  expect((await post({ ref: sessions[0]?.ref ?? '' })).status).toBe(200)
  expect((await post({ name: 'x' })).status).toBe(400)
  expect((await victim.tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: true })
})

test('a typed address opens the page, script and frames do not, and nobody else’s form ends anything (CS-01)', async () => {
  const there = await world()
  const { tab } = await there.signedIn()
  const other = await there.signedIn()
  const url = `${there.url}/bff/your-sessions`

  expect((await tab.navigate(url, { from: 'none' })).status).toBe(200)
  expect((await tab.fetch(url)).status).toBe(400)
  expect((await tab.navigate(url, { frame: true })).status).toBe(400)
  const forged = await tab.navigate(url, {
    method: 'POST',
    form: new URLSearchParams({ others: 'true' }),
    from: 'http://localhost:1/',
  })
  expect([forged.status, forged.headers['sidegate-error']]).toEqual([403, 'csrf_rejected'])
  expect((await other.tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: true })
})

test('the forms work where every API call must carry X-CSRF, and only they', async () => {
  const there = await world({ csrf: { requireHeader: true } })
  const { tab } = await there.signedIn()
  await there.signedIn()

  await tab.navigate(`${there.url}/bff/your-sessions`)
  expect((await tab.submit('true')).status).toBe(200)
  expect((await tab.fetch('/bff/sessions?others=true', { method: 'DELETE' })).status).toBe(403)
})

test('without a session the page asks to sign in', async () => {
  const there = await world()
  const page = await there.browser().newTab().navigate(`${there.url}/bff/your-sessions`)
  expect([page.status, page.headers['sidegate-error']]).toEqual([401, 'login_required'])
})
