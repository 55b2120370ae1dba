import { createClient } from '/bff/client.js'

const sidegate = createClient()
const $ = (id) => document.getElementById(id)

sidegate.onChange(({ session }) => {
  $('who').textContent = session.authenticated ? `Signed in as ${session.user.name}` : 'Nobody is signed in'
  $('sign-in').hidden = session.authenticated
  $('sign-out').hidden = !session.authenticated
})
$('sign-in').addEventListener('click', () => sidegate.login())
$('sign-out').addEventListener('click', () => sidegate.logout())
$('call').addEventListener('click', async () => {
  const response = await sidegate.fetch('/api/orders')
  $('answer').textContent = `The API answered ${response.status}`
})
