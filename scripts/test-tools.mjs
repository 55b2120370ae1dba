// The programs that the tests need besides Node: found on this machine, or installed where that is possible.
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * What the tests need, by the names it goes by, and the Debian packages that bring it, in order of preference. An entry
 * may hold several that belong together. Without what is optional some tests are skipped (test/skips.json): Ubuntu has
 * no package of Firefox, for one.
 */
export const tools = [
  { what: 'a Redis server', names: ['redis-server', 'valkey-server'], packages: ['redis-server', 'valkey-server'] },
  {
    what: 'Chromium',
    names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    packages: ['chromium'],
  },
  { what: 'OpenSSL', names: ['openssl'], packages: ['openssl'] },
  { what: 'nginx', names: ['nginx'], packages: ['nginx-light', 'nginx'] },
  { what: 'Caddy', names: ['caddy'], packages: ['caddy'] },
  { what: 'Firefox', names: ['firefox-esr', 'firefox'], packages: ['firefox-esr'], isOptional: true },
  { what: 'WebKit', names: ['WebKitWebDriver'], packages: ['webkit2gtk-driver xvfb'], isOptional: true },
]

/** What `npm run test:interop` needs: other people's authorization servers. */
export const interopTools = [
  // Without a choice of database Debian's package cannot be configured.
  { what: 'glewlwyd', names: ['glewlwyd'], packages: ['dbconfig-sqlite3 glewlwyd'] },
  {
    what: 'LemonLDAP::NG',
    names: ['llng-fastcgi-server'],
    // Its OpenID Connect needs the last two, which the package only recommends.
    packages: ['lemonldap-ng-fastcgi-server liblemonldap-ng-portal-perl libio-string-perl libstring-random-perl'],
  },
]

/** The path of the first of these programs on the PATH (or where Debian puts servers), or undefined. */
export function findProgram(names, path = process.env.PATH ?? '') {
  const directories = [...path.split(delimiter), '/usr/bin', '/usr/local/bin', '/usr/sbin'].filter(
    (part) => part !== '',
  )
  for (const name of names) {
    for (const directory of directories) {
      const file = join(directory, name)
      try {
        accessSync(file, constants.X_OK)
        return file
      } catch {
        // Not here: the next place.
      }
    }
  }
  return undefined
}

/**
 * Installs what is missing with apt where that is allowed (root, Debian or Ubuntu).
 * Returns one line that says what a person has to install, or undefined when everything is there that must be.
 */
export function provide(missing, { run = runQuietly, isRoot = process.getuid?.() === 0, find = findProgram } = {}) {
  const apt = find(['apt-get'])
  const byHand = (list) =>
    `the tests need ${list.map((tool) => tool.what).join(' and ')}: install ${list.map((tool) => tool.packages[0]).join(' and ')} ` +
    `(apt-get install -y ${list.map((tool) => tool.packages[0]).join(' ')})`
  const required = missing.filter((tool) => !tool.isOptional)
  if (missing.length === 0) return undefined
  if (!isRoot || apt === undefined) return required.length === 0 ? undefined : byHand(required)

  run(apt, ['update'])
  for (const tool of missing) {
    for (const name of tool.packages) {
      if (find(tool.names) === undefined) run(apt, ['install', '-y', '--no-install-recommends', ...name.split(' ')])
    }
  }
  const still = required.filter((tool) => find(tool.names) === undefined)
  return still.length === 0 ? undefined : `apt could not install it; ${byHand(still)}`
}

function runQuietly(command, args) {
  process.stderr.write(`npm test: ${command.split('/').pop()} ${args.join(' ')}\n`)
  // RUNLEVEL=1: Debian's service scripts must not start a server of their own beside the tests'.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  const { status, stderr } = spawnSync(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
  if (status !== 0) process.stderr.write(stderr)
}
