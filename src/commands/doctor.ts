import { styleText } from 'node:util'
import { loadConfig } from '../config/load.ts'
import type { LoadedConfig } from '../config/load.ts'
import { isLoopback } from '../config/network.ts'
import { ConfigError, formatPath } from '../config/problem.ts'
import { providerEntries } from '../config/provider-rules.ts'
import type { Config } from '../config/schema.ts'
import type { Finding } from './doctor/finding.ts'
import { examineFront } from './doctor/front.ts'
import { examineLogin } from './doctor/login.ts'
import type { LoginFindings } from './doctor/login.ts'
import { aboutProvider, examineProvider } from './doctor/provider.ts'
import { examineRedis } from './doctor/redis.ts'
import { examineSetup } from './doctor/setup.ts'
import { examineUpstream } from './doctor/upstream.ts'
import { UsageError, configFile, configHelp, configOption, readArguments } from './usage.ts'
import type { CommandArguments } from './usage.ts'

const help = `
Usage: sidegate doctor [--config FILE] [--login [--provider NAME] [--redirect-uri URI]] [--json]

Goes and sees whether everything is there: the configuration, the authorization server (address, certificate, issuer,
abilities, keys, clock, redirect URI, credentials), the upstreams, Redis, and what answers at publicUrl. Nothing is
changed, nobody is signed in. Each ✖ and ⚠ has its cause and what to do. The exit code is 1 when there is a ✖.

Options:
${configHelp}
      --login              also run one login in your browser, and say what came back: scopes, audience, kinds and
                           lifetimes of tokens, claims; never a token. Where publicUrl is a loopback address, stop the
                           gateway first: doctor waits for the browser in its place. Elsewhere, or while the gateway
                           runs, you paste the address at which the browser ends.
      --provider NAME      which one, where there are several
      --redirect-uri URI   come back to this loopback address in place of the gateway's own; it has to be registered too
      --json               one JSON object on stdout
`

/** `sidegate doctor`: what is wrong out there, and what to do. */
export async function doctor(args: readonly string[]): Promise<number> {
  const flag = { type: 'boolean' } as const
  const text = { type: 'string' } as const
  const parsed = readArguments(args, help, {
    ...configOption,
    json: flag,
    login: flag,
    provider: text,
    'redirect-uri': text,
  })
  if (!parsed) return 0
  const { options } = parsed
  const json = options['json'] === true
  checkLoginOptions(options)
  let loaded: LoadedConfig
  try {
    loaded = loadConfig(configFile(options))
  } catch (error) {
    if (!json || !(error instanceof ConfigError)) throw error
    print(problemsOf(error), undefined, true)
    return error.exitCode
  }
  const chosen = options['login'] === true ? chooseProvider(loaded.config, options['provider']) : undefined
  const findings = await examine(loaded)
  if (!json) for (const finding of findings) process.stdout.write(formatted(finding))
  const login = chosen && (await signIn(loaded.config, chosen, findings, options['redirect-uri']))
  const all = [...findings, ...(login?.findings ?? [])]
  if (!json) for (const finding of login?.findings ?? []) process.stdout.write(formatted(finding))
  print(all, login, json)
  return all.some(({ status }) => status === 'failure') ? 1 : 0
}

/** Everything at once; the order of the findings is fixed. */
export async function examine(loaded: LoadedConfig): Promise<Finding[]> {
  const { config } = loaded
  const parts = await Promise.all([
    ...providerEntries(config).map(({ name, provider }) =>
      guarded(aboutProvider(name), examineProvider(name, config, provider)),
    ),
    ...(config.store.redis ? [guarded('redis', examineRedis(config, config.store.redis))] : []),
    ...config.routes.map((route) => guarded(`route ${route.path}`, examineUpstream(route))),
    guarded('publicUrl', examineFront(config)),
  ])
  return [examineSetup(loaded), ...parts].flat()
}

/** What breaks one examination must not hide the findings of the others. */
async function guarded(about: string, examination: Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await examination
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unknown reason'
    return [{ status: 'failure', about, message: `it cannot be examined: ${reason}`, remedy: 'run doctor again' }]
  }
}

function checkLoginOptions(options: CommandArguments['options']): void {
  for (const name of ['provider', 'redirect-uri']) {
    if (options[name] !== undefined && options['login'] !== true) throw new UsageError(`--${name} goes with --login`)
  }
  const uri = options['redirect-uri']
  if (typeof uri !== 'string') return
  const url = URL.parse(uri)
  if (url?.protocol !== 'http:' || !isLoopback(url.hostname) || url.search !== '' || url.hash !== '')
    throw new UsageError(
      '--redirect-uri takes an http:// address of this machine, such as http://127.0.0.1:8250/callback',
    )
}

type Provider = ReturnType<typeof providerEntries>[number]

function chooseProvider(config: Config, wanted: unknown): Provider {
  const entries = providerEntries(config)
  const names = entries.map(({ name }) => name)
  if (wanted === undefined && entries.length > 1)
    throw new UsageError(`there are several providers: name one with --provider (${names.join(', ')})`)
  const found = wanted === undefined ? entries[0] : entries.find(({ name }) => name === wanted)
  if (!found) throw new UsageError(`--provider takes one of ${names.join(', ')}`)
  return found
}

async function signIn(
  config: Config,
  { name, provider }: Provider,
  findings: readonly Finding[],
  redirectUri: unknown,
): Promise<LoginFindings> {
  const about = aboutProvider(name)
  const isOwn = redirectUri === undefined
  // Whether another redirect URI is registered nobody has asked yet.
  const stops = findings.some(
    (one) => one.about === about && one.status === 'failure' && (isOwn || !one.message.startsWith('the redirect URI')),
  )
  if (stops) {
    const message = 'no login was begun: it would fail by what was found above'
    const remedy = `repair what ✖ ${about} says, then run doctor --login again`
    return { findings: [{ status: 'failure', about: 'login', message, remedy }], report: undefined }
  }
  return examineLogin({
    name,
    config,
    provider,
    redirectUri: typeof redirectUri === 'string' ? redirectUri : undefined,
    input: process.stdin,
    // Not on stdout, which is for what was found.
    say: (line) => process.stderr.write(`${line}\n`),
  })
}

function problemsOf(error: ConfigError): Finding[] {
  return error.problems.map(({ path, message, line }) => ({
    status: 'failure',
    about: 'configuration',
    message: `${formatPath(path)}: ${message}`,
    remedy: `${error.file}:${line}`,
  }))
}

function print(findings: readonly Finding[], login: LoginFindings | undefined, json: boolean): void {
  if (json) {
    const ok = findings.every(({ status }) => status !== 'failure')
    const report = { ok, findings, ...(login?.report && { login: login.report }) }
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    return
  }
  const count = (wanted: Finding['status']) => findings.filter(({ status }) => status === wanted).length
  process.stdout.write(`\n${count('ok')} fine, ${count('warning')} to look at, ${count('failure')} to repair\n`)
  if (!login) process.stdout.write('What a login brings back, sidegate doctor --login shows.\n')
}

function formatted({ status, about, message, remedy }: Finding): string {
  const mark = { ok: ['green', '✔'], warning: ['yellow', '⚠'], failure: ['red', '✖'] } as const
  const [colour, sign] = mark[status]
  const head = `${styleText(colour, sign, { stream: process.stdout })} ${about}: ${message}\n`
  return remedy === undefined ? head : `${head}    → ${remedy}\n`
}
