const element = (id) => document.getElementById(id)

const session = await (await fetch('/bff/session')).json()
element('who').textContent = session.authenticated
  ? `Signed in as ${session.user.name ?? session.user.sub}`
  : 'Not signed in'
element('login').hidden = session.authenticated
element('login').href = '/bff/login?returnTo=/'
element('logout').hidden = !session.authenticated
element('call').hidden = !session.authenticated

element('call').addEventListener('click', async () => {
  element('answer').textContent = await (await fetch('/api/items')).text()
})
element('logout').addEventListener('click', async () => {
  const { redirectUrl } = await (await fetch('/bff/logout', { method: 'POST' })).json()
  location.assign(redirectUrl)
})
