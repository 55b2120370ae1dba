import { styleText } from 'node:util'
import { loadConfig } from '../config/load.ts'
import type { LoadedConfig } from '../config/load.ts'
import { ConfigError, formatPath } from '../config/problem.ts'
import { providerEntries } from '../config/provider-rules.ts'
import type { Config } from '../config/schema.ts'
import { Findings } from './doctor/finding.ts'
import type { Finding } from './doctor/finding.ts'
import { examineProvider } from './doctor/provider.ts'
import { reach } from './doctor/reach.ts'
import { examineRedis } from './doctor/redis.ts'
import { examineQuirks, examineSetup } from './doctor/setup.ts'
import { configFile, configHelp, configOption, readArguments } from './usage.ts'

const help = `
Usage: sidegate doctor [--config FILE] [--json]

Goes and sees whether everything is there: the configuration, the authorization server (address, certificate, issuer,
abilities, keys, clock, redirect URI, credentials), the upstreams, Redis. Nothing is changed, nobody is signed in.
Each ✖ has its cause and what to do. The exit code is 1 when there is one.

Options:
${configHelp}
      --json          one JSON object on stdout
`

/** `sidegate doctor`: what is wrong out there, and what to do. */
export async function doctor(args: readonly string[]): Promise<number> {
  const parsed = readArguments(args, help, { ...configOption, json: { type: 'boolean' } })
  if (!parsed) return 0
  const json = parsed.options['json'] === true
  let loaded: LoadedConfig
  try {
    loaded = loadConfig(configFile(parsed.options))
  } catch (error) {
    if (!json || !(error instanceof ConfigError)) throw error
    print(
      error.problems.map(({ path, message, line }) => ({
        status: 'failure',
        about: 'configuration',
        message: `${formatPath(path)}: ${message}`,
        remedy: `${error.file}:${line}`,
      })),
      true,
    )
    return error.exitCode
  }
  const findings = await examine(loaded)
  print(findings, json)
  return findings.some(({ status }) => status === 'failure') ? 1 : 0
}

/** Everything at once; the order of the findings is fixed. */
export async function examine(loaded: LoadedConfig): Promise<Finding[]> {
  const { config } = loaded
  const providers = providerEntries(config)
  const parts = await Promise.all([
    ...providers.map(({ name, provider }) => examineProvider(name, config, provider)),
    ...(config.store.redis ? [examineRedis(config, config.store.redis)] : []),
    ...config.routes.map((route) => examineUpstream(route)),
  ])
  const quirks = providers.map(({ name, provider }) => examineQuirks(name, provider))
  return [examineSetup(loaded), ...quirks, ...parts].flat()
}

async function examineUpstream({ path, upstream, spa, tls }: Config['routes'][number]): Promise<Finding[]> {
  const findings = new Findings(`route ${path}`)
  const address = upstream ?? spa?.devServer ?? spa?.indexUrl
  const url = address === undefined || address.startsWith('unix:') ? null : URL.parse(address)
  if (url) await reach(url, findings, 'put the certificate of its authority into tls.caFile of the route', tls)
  return findings.list
}

function print(findings: readonly Finding[], json: boolean): void {
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ok: findings.every(({ status }) => status !== 'failure'), findings }, null, 2)}\n`,
    )
    return
  }
  for (const finding of findings) process.stdout.write(formatted(finding))
  const count = (wanted: Finding['status']) => findings.filter(({ status }) => status === wanted).length
  process.stdout.write(`\n${count('ok')} fine, ${count('warning')} to look at, ${count('failure')} to repair\n`)
}

function formatted({ status, about, message, remedy }: Finding): string {
  const mark = { ok: ['green', '✔'], warning: ['yellow', '⚠'], failure: ['red', '✖'] } as const
  const [colour, sign] = mark[status]
  const head = `${styleText(colour, sign, { stream: process.stdout })} ${about}: ${message}\n`
  return remedy === undefined ? head : `${head}    → ${remedy}\n`
}
