/** What a newcomer does first: the commands of README.md and deploy/README.md as written, in a copy without modules. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { blockOf } from '../support/documents.ts'
import { freePort } from '../support/free-port.ts'
import { loadMounted } from '../support/mounted-config.ts'

const root = new URL('../..', import.meta.url).pathname
/** Paths from the root that no clone has. */
const MADE = /^\/?(node_modules|dist|coverage|\.git)(\/|$)/
let directory: string
let clone: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sidegate-clone-'))
  clone = join(directory, 'sidegate')
  // With what is not committed yet, and without what an installation or a build has made.
  const filter = (source: string) => !MADE.test(source.slice(root.length))
  await cp(root, clone, { recursive: true, verbatimSymlinks: true, filter })
})

afterAll(() => rm(directory, { recursive: true, maxRetries: 5 }))

/** Runs the text of a block in a shell, in a process group that is ended with the test. */
function shell(text: string, env: NodeJS.ProcessEnv = {}): ChildProcess & { output: () => string } {
  const child = spawn('bash', ['-euc', text], {
    cwd: clone,
    detached: true,
    // What has been downloaded once does for every copy.
    env: { ...process.env, npm_config_prefer_offline: 'true', ...env },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => (output += part))
  }
  onTestFinished(() => signal(child, 'SIGKILL'))
  return Object.assign(child, { output: () => output })
}

/** To the whole group, as the terminal does for Ctrl-C. */
function signal({ pid }: ChildProcess, name: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, name)
  } catch {
    // It has ended already.
  }
}

async function finished(child: ReturnType<typeof shell>): Promise<string> {
  const [code] = (await once(child, 'close')) as [number | null] // the `close` event, documented by Node
  expect(code, child.output()).toBe(0)
  return child.output()
}

test(
  'the first command of the README starts the demo in a fresh copy, where one click signs in',
  { timeout: 600_000 },
  async () => {
    const names = ['PORT', 'MANAGEMENT_PORT', 'PROVIDER_PORT', 'API_PORT']
    const ports = await Promise.all(names.map(async (name) => [`SIDEGATE_DEMO_${name}`, String(await freePort())]))
    const demo = shell(blockOf('README.md', 'demo'), Object.fromEntries(ports) as Record<string, string>)
    while (!/Open +http/.test(demo.output())) {
      const ended = await Promise.race([once(demo.stdout ?? demo, 'data'), once(demo, 'close').then(() => 'ended')])
      expect(ended, demo.output()).not.toBe('ended')
    }

    const chromium = await launchChromium()
    onTestFinished(() => chromium.close())
    const page = await chromium.newPage()
    await page.goto(`http://localhost:${ports[0]?.[1]}`)
    await page.getByRole('link', { name: 'Sign in' }).click()
    await page.getByRole('button', { name: 'Alice' }).click()
    await page.getByText('Signed in as Alice Liddell').waitFor()
    await page.getByRole('button', { name: 'Call the API' }).click()
    await page.getByText(/The API answered 200/).waitFor()

    signal(demo, 'SIGINT')
    await once(demo, 'close')

    // The same copy, as the package that npm would publish.
    await finished(shell('npm pack --pack-destination .. && rm -rf node_modules'))
    const { version } = JSON.parse(await readFile(join(clone, 'package.json'), 'utf8')) as { version: string }
    await writeFile(
      join(directory, 'sidegate.yaml'),
      'publicUrl: http://localhost:8080\nprovider: { issuer: "https://id.example.com", clientId: shop, clientSecret: "${SECRET}" }\n' +
        'routes: [{ path: /, upstream: "http://127.0.0.1:3000" }]\n',
    )
    const printed = await finished(
      shell(
        `mkdir ../user && cd ../user && npm init --yes > init.log
      npm install --no-audit --no-fund ../sidegate-${version}.tgz > install.log
      npx --no-install sidegate --version
      npx --no-install sidegate check --config ../sidegate.yaml
      node --input-type=module -e "import { createClient } from 'sidegate/browser'; console.log(typeof createClient)"`,
        { PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, SECRET: 'from-the-environment' },
      ),
    )
    expect(printed).toContain(`sidegate ${version}`)
    expect(printed).toContain('https://id.example.com')
    expect(printed).toMatch(/^function$/m)
    expect(printed).not.toContain('from-the-environment')
    const packed = spawnSync('tar', ['-tf', join(directory, `sidegate-${version}.tgz`)], { encoding: 'utf8' }).stdout
    expect(packed).toContain('package/dist/main.js')
    expect(packed).not.toMatch(/\.map$|package\/(src|test)\//m)
  },
)

test('the key that deploy/README.md has made for Compose is one that the gateway takes', async () => {
  await finished(shell(blockOf('deploy/README.md', 'compose-key')))

  const key = (await readFile(join(clone, 'deploy/compose/secrets/session-keys'), 'utf8')).trim()
  const yaml = await readFile(join(clone, 'deploy/compose/sidegate.yaml'), 'utf8')
  const withKey = yaml.replace('keysFile: /run/secrets/session-keys', `keys: [${key}]`)
  expect(withKey).toContain(key)
  expect(loadMounted(withKey).config.session.keys).toEqual([key])
})
