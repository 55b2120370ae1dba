/** OpenTelemetry is loaded where it is asked for: a gateway without traces pays nothing for them. */
import type { Log } from './log.ts'
import { type Environment, traceSettings } from './trace-settings.ts'
import type { Tracing } from './tracing.ts'

/**
 * `undefined` where the standard variables ask for no traces.
 *
 * @param name the service's, where neither `OTEL_SERVICE_NAME` nor `OTEL_RESOURCE_ATTRIBUTES` gives one
 */
export async function loadTracing(env: Environment, name: string, log: Log): Promise<Tracing | undefined> {
  const { settings, warnings } = traceSettings(env)
  for (const warning of warnings) log.warn({}, warning)
  if (!settings) return undefined
  const { Tracing } = await import('./tracing.ts')
  return Tracing.toCollector(settings, name, log)
}
