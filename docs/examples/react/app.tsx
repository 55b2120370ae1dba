import { useState } from 'react'
import { createRoot } from 'react-dom/client'
import { sidegate, useSession } from './session.ts'

function App() {
  const session = useSession()
  const [answer, setAnswer] = useState('')

  async function call() {
    const response = await sidegate.fetch('/api/orders')
    setAnswer(`The API answered ${response.status}`)
  }

  if (!session) return null
  return (
    <>
      <p>{session.authenticated ? `Signed in as ${session.user?.name}` : 'Nobody is signed in'}</p>
      {session.authenticated ? (
        <button onClick={() => sidegate.logout()}>Sign out</button>
      ) : (
        <button onClick={() => sidegate.login()}>Sign in</button>
      )}
      <button onClick={call}>Call the API</button>
      <output>{answer}</output>
    </>
  )
}

const place = document.querySelector('main')
if (place) createRoot(place).render(<App />)
