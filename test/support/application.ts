/** An application as small as one can be: who is signed in, buttons, what an API call came to, and a service worker. */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** By its address: `popup` signs in so, `call` calls the API at once, `worker-…` registers that worker. */
const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Application</title>
<p id="who">…</p><p id="call"></p>
<button id="sign-in">Sign in here</button><button id="sign-out">Sign out here</button>
<script type="module">
import { createClient } from '/bff/client.js'
const { search } = location
const client = createClient({ popup: search.includes('popup') })
const show = ({ session }) => {
  document.getElementById('who').textContent = session.user ? 'This is ' + session.user.sub : 'Nobody'
  document.getElementById('sign-in').hidden = session.authenticated
}
client.onChange(show)
document.getElementById('sign-in').onclick = () => client.login()
document.getElementById('sign-out').onclick = () => client.logout()
if (search.includes('call')) {
  const { status } = await client.fetch('/api/orders')
  document.getElementById('call').textContent = 'The call got ' + status
}
if (search.includes('worker')) {
  await navigator.serviceWorker.register('/worker.js?' + search.slice(1))
  await navigator.serviceWorker.ready
  document.getElementById('call').textContent = 'The worker is ready'
}
</script>`

/** Workers as people write them: one answers everything from the network, one all pages with the app's shell. */
const WORKER = `
addEventListener('activate', (event) => event.waitUntil(clients.claim()))
addEventListener('fetch', (event) => {
  const { pathname } = new URL(event.request.url)
  const hasShell = location.search.includes('shell')
  if (hasShell && pathname.startsWith('/bff/')) return
  event.respondWith(hasShell && event.request.mode === 'navigate' ? fetch('/index.html') : fetch(event.request))
})`

/** Resolves a new directory with the application in it. */
export async function writeApplication(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-application-'))
  await writeFile(join(directory, 'index.html'), PAGE)
  await writeFile(join(directory, 'worker.js'), WORKER)
  return directory
}
