import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'

const root = new URL('../..', import.meta.url).pathname
const tsc = (...args: string[]) =>
  promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...args]).then(
    ({ stdout }) => stdout,
    ({ stdout }: { stdout: string }) => stdout,
  )

/** How an application uses the client; what a mistake of its developer is has to be one for the compiler, too. */
const CONSUMER = `
import { createClient, type Client, type Session, type SessionChange } from 'sidegate/browser'

const client: Client = createClient({ base: '/bff', popup: true, onLoginRequired: (login, code) => code === '' ? login() : Promise.resolve(false) })
const handedOn: typeof fetch = client.fetch
const stop: () => void = client.onChange(({ type, session, reason }: SessionChange) => {
  if (type === 'ended') console.log(reason?.toUpperCase(), session.authenticated)
})
console.log(client.current?.user?.email)
const session: Session = client.current ?? (await client.session())
if (session.authenticated) console.log(session.user.name?.length, session.expiresInSeconds.toFixed(), session.logoutUrl)
else console.log(session.loginUrl)
const isSignedIn: boolean = await client.login({ returnTo: '/orders#open', popup: true })
await client.logout({ local: isSignedIn })
stop()
void handedOn('/api/orders')

// @ts-expect-error nobody may be signed in
session.expiresAt.length
// @ts-expect-error what is known is not for the page to write
client.current = session
// @ts-expect-error there is no such option
createClient({ popups: true })
// @ts-expect-error a session holds no token
client.current?.token
// @ts-expect-error a claim may be missing
client.current?.user?.name.length
`

let application: string

beforeAll(async () => {
  application = await mkdtemp(join(tmpdir(), 'sidegate-package-'))
  const installed = join(application, 'node_modules/sidegate')
  await mkdir(join(installed, 'dist'), { recursive: true })
  await copyFile(join(root, 'package.json'), join(installed, 'package.json'))
  // As `npm run build` does it.
  expect(await tsc('-p', join(root, 'src/browser'), '--outDir', join(installed, 'dist/browser'))).toBe('')
  await writeFile(join(application, 'app.ts'), CONSUMER)
  await writeFile(join(application, 'package.json'), '{ "type": "module" }')
  return () => rm(application, { recursive: true })
})

describe('the package export sidegate/browser', () => {
  test.each(['bundler', 'nodenext'])('has types that say what there is, found by %s', async (moduleResolution) => {
    const module = moduleResolution === 'bundler' ? 'esnext' : 'nodenext'
    const lib = ['es2022', 'dom', 'dom.iterable']
    const compilerOptions = { strict: true, noEmit: true, target: 'es2022', types: [], lib, module, moduleResolution }
    await writeFile(join(application, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }))

    expect(await tsc('-p', application)).toBe('')
  })

  test('is a module that runs without another', async () => {
    const location = { href: 'https://app.test/', origin: 'https://app.test' }
    const globals = { window: {}, location, addEventListener: () => {} }
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true })
      onTestFinished(() => void Reflect.deleteProperty(globalThis, name))
    }

    // What tsc has just written: the one export that there is.
    const built = (await import(join(application, 'node_modules/sidegate/dist/browser/client.js'))) as {
      createClient: () => object
    }

    expect(Object.keys(built)).toEqual(['createClient'])
    expect(Object.keys(built.createClient()).toSorted()).toEqual([
      'current',
      'fetch',
      'login',
      'logout',
      'onChange',
      'session',
    ])
  })
})
