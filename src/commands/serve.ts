/** `sidegate [serve]`: runs the gateway until it is told to stop. */
import type { Logger } from 'pino'
import { ConfigSource } from '../config/source.ts'
import { providerEntries } from '../config/provider-rules.ts'
import type { Config } from '../config/schema.ts'
import { Service, type ServiceAddresses } from '../service.ts'
import { loadTracing } from '../telemetry/load-tracing.ts'
import type { Log } from '../telemetry/log.ts'
import { createLogger } from '../telemetry/logger.ts'
import { prettyLines } from '../telemetry/pretty-lines.ts'
import { loadClientModule } from './client-module.ts'
import { configFile, configHelp, configOption, readArguments } from './usage.ts'

const help = `
Usage: sidegate [serve] [OPTIONS]

Runs the gateway. SIGTERM lets it end what is under way, SIGHUP reads the configuration again.

Options:
${configHelp}
      --json          JSON lines on a terminal, too (log.format: json)
  -h, --help          this text
`

/** A gateway that runs in this process. */
export interface RunningGateway {
  readonly config: Config
  readonly addresses: ServiceAddresses
  /** The way out of service that SIGTERM takes; resolves when everything has ended. */
  drain(): Promise<void>
  /** The same without the delay for load balancers. */
  stop(): Promise<void>
  /** Reads the configuration again, as SIGHUP does; one that cannot be used is logged and changes nothing. */
  reload(): Promise<void>
}

/** @throws ConfigError when the configuration cannot be used; Error when an address cannot be listened on */
export async function startGateway(
  configFile: string,
  { json = false }: { json?: boolean } = {},
): Promise<RunningGateway> {
  let logger: Logger | undefined
  // The configuration says how to log, so nothing is logged before it has been read.
  const lateLog: Log = {
    debug: (fields, message) => logger?.debug(fields, message),
    info: (fields, message) => logger?.info(fields, message),
    warn: (fields, message) => logger?.warn(fields, message),
    error: (fields, message) => logger?.error(fields, message),
  }
  const source = new ConfigSource(configFile, { log: lateLog })
  const config = source.current
  logger = createLogger(config.log, isPretty(config, json) ? await prettyLines() : undefined)
  for (const { path, message } of source.warnings) logger.warn({ key: path.join('.') }, message)

  const service = await Service.create({
    config,
    log: logger,
    clientModule: await loadClientModule(),
    tracing: await loadTracing(process.env, config.name, logger),
    rereadKeys: () => source.reload(),
  })
  source.onChange((changed) => void service.update(changed))
  source.onRefused(() => service.noteRefusedUpdate())
  const addresses = await service.listen().catch(async (error: unknown) => {
    source.close()
    await service.stop()
    throw error
  })
  return {
    config,
    addresses,
    drain: () => service.drain().finally(() => source.close()),
    stop: () => service.stop().finally(() => source.close()),
    reload: async () => {
      await source.reload()
      // Also what was refused before, for a reason outside of the file that may be gone.
      await service.update(source.current)
    },
  }
}

/** Runs until SIGTERM or SIGINT; a second one ends the process at once. Resolves to the exit code. */
export async function serve(args: readonly string[]): Promise<number> {
  const read = readArguments(args, help, { ...configOption, json: { type: 'boolean' } })
  if (!read) return 0
  const json = read.options['json'] === true
  let running: RunningGateway | undefined
  // Also while it starts, since by default the signal ends a process.
  process.on('SIGHUP', () => void running?.reload())
  const gateway = await startGateway(configFile(read.options), { json })
  running = gateway
  // Whoever reads that it listens may send one at once.
  const told = nextSignal()
  announce(gateway, json)

  const signal = await told
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.once(again, () => process.exit(1))
  // Someone at a terminal wants it to end; an orchestrator wants its load balancer to notice first.
  await (signal === 'SIGINT' ? gateway.stop() : gateway.drain())
  return 0
}

/** Readable lines on a terminal, JSON elsewhere, unless the configuration or the command says which. */
function isPretty({ log }: Config, json: boolean): boolean {
  return !json && (log.format ?? (process.stdout.isTTY ? 'pretty' : 'json')) === 'pretty'
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
}

/** One line, whatever the level of the log: what to open, and what to register at the authorization server. */
function announce({ config, addresses }: RunningGateway, json: boolean): void {
  const base = `${config.publicUrl.replace(/\/$/, '')}${config.basePath}`
  const facts = {
    publicUrl: config.publicUrl,
    listen: addresses.public,
    management: addresses.management,
    ...(addresses.admin !== undefined && { admin: addresses.admin }),
    ...(addresses.forwardAuth !== undefined && { forwardAuth: addresses.forwardAuth }),
    providers: providerEntries(config).map(({ provider }) => provider.issuer),
    store: config.store.redis ? 'redis' : 'memory',
    routes: config.routes.map(({ path }) => path),
    redirectUri: `${base}/callback`,
    postLogoutRedirectUri: `${base}/logout/callback`,
    backchannelLogoutUri: `${base}/backchannel-logout`,
  }
  const line = isPretty(config, json)
    ? [
        `sidegate serves ${facts.publicUrl} on ${facts.listen} (management on ${facts.management})`,
        `routes ${facts.routes.join(', ')}`,
        `sign-in at ${facts.providers.join(', ')}`,
        `sessions in ${facts.store === 'redis' ? 'Redis' : 'memory'}`,
        `to register: ${facts.redirectUri}, ${facts.postLogoutRedirectUri}, ${facts.backchannelLogoutUri}`,
      ].join('; ')
    : JSON.stringify({ level: 'info', time: new Date().toISOString(), msg: 'listening', ...facts })
  process.stdout.write(`${line}\n`)
}
