/** What the standard variables of OpenTelemetry ask for; those of the exporter it reads itself. */

export type Environment = Readonly<Record<string, string | undefined>>

export interface TraceSettings {
  readonly sampler: {
    readonly kind: 'always_on' | 'always_off' | 'traceidratio'
    /** The decision of a caller that sent a `traceparent` counts. */
    readonly isParentBased: boolean
    /** 0 … 1, for `traceidratio`. */
    readonly ratio: number
  }
  readonly batch: {
    readonly scheduledDelayMillis: number
    readonly maxQueueSize: number
    readonly maxExportBatchSize: number
    readonly exportTimeoutMillis: number
  }
}

export interface TraceDecision {
  /** `undefined`: no traces. */
  readonly settings: TraceSettings | undefined
  /** Settings that cannot be followed, in words for the log. */
  readonly warnings: readonly string[]
}

const SAMPLERS = ['always_on', 'always_off', 'traceidratio'] as const

/**
 * Traces are on where an endpoint is set and nothing turns them off: `OTEL_EXPORTER_OTLP_ENDPOINT` or
 * `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`. OTLP over HTTP with protobuf is
 * what is spoken.
 */
export function traceSettings(env: Environment): TraceDecision {
  const value = (name: string): string => env[name]?.trim() ?? ''
  const endpoint = value('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') || value('OTEL_EXPORTER_OTLP_ENDPOINT')
  if (endpoint === '' || value('OTEL_SDK_DISABLED').toLowerCase() === 'true')
    return { settings: undefined, warnings: [] }
  const exporters = (value('OTEL_TRACES_EXPORTER') || 'otlp').split(',').map((name) => name.trim())
  if (exporters.includes('none')) return { settings: undefined, warnings: [] }
  if (!exporters.includes('otlp')) return off('OTEL_TRACES_EXPORTER: only otlp is there; nothing is traced')
  const protocol = value('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') || value('OTEL_EXPORTER_OTLP_PROTOCOL')
  if (protocol !== '' && protocol !== 'http/protobuf')
    return off(
      'OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken (port 4318 of a collector); nothing is traced',
    )
  if (!/^https?:$/.test(URL.parse(endpoint)?.protocol ?? ''))
    return off('OTEL_EXPORTER_OTLP_ENDPOINT is no http or https URL; nothing is traced')

  const warnings: string[] = []
  const sampler = samplerOf(value('OTEL_TRACES_SAMPLER'), value('OTEL_TRACES_SAMPLER_ARG'), warnings)
  const number = (name: string, fallback: number): number => {
    const text = value(name)
    if (text === '' || /^[1-9]\d{0,8}$/.test(text)) return text === '' ? fallback : Number(text)
    warnings.push(`${name} is no whole number; ${fallback} is used`)
    return fallback
  }
  const maxQueueSize = number('OTEL_BSP_MAX_QUEUE_SIZE', 2_048)
  return {
    settings: {
      sampler,
      batch: {
        scheduledDelayMillis: number('OTEL_BSP_SCHEDULE_DELAY', 5_000),
        maxQueueSize,
        maxExportBatchSize: Math.min(number('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512), maxQueueSize),
        exportTimeoutMillis: number('OTEL_BSP_EXPORT_TIMEOUT', 30_000),
      },
    },
    warnings,
  }
}

function samplerOf(name: string, argument: string, warnings: string[]): TraceSettings['sampler'] {
  const wanted = name === '' ? 'parentbased_always_on' : name
  const kind = SAMPLERS.find((sampler) => sampler === wanted.replace(/^parentbased_/, ''))
  if (kind === undefined) {
    warnings.push('OTEL_TRACES_SAMPLER is unknown; parentbased_always_on is used')
    return { kind: 'always_on', isParentBased: true, ratio: 1 }
  }
  const ratio = argument === '' ? 1 : Number(argument)
  const isRatio = ratio >= 0 && ratio <= 1
  if (kind === 'traceidratio' && !isRatio) warnings.push('OTEL_TRACES_SAMPLER_ARG is not between 0 and 1; 1 is used')
  return { kind, isParentBased: wanted.startsWith('parentbased_'), ratio: isRatio ? ratio : 1 }
}

function off(warning: string): TraceDecision {
  return { settings: undefined, warnings: [warning] }
}
