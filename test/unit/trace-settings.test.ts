import { describe, expect, test } from 'vitest'
import { type Environment, traceSettings } from '../../src/telemetry/trace-settings.ts'

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }
const samplerOf = (env: Environment) => traceSettings({ ...ENDPOINT, ...env }).settings?.sampler

test.each<[string, Environment]>([
  ['no endpoint is set', {}],
  ['the endpoint is empty', { OTEL_EXPORTER_OTLP_ENDPOINT: ' ' }],
  ['the SDK is disabled', { ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' }],
  ['there is to be no exporter', { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' }],
])('where %s nothing is traced, without a word', (_name, env) => {
  expect(traceSettings(env)).toEqual({ settings: undefined, warnings: [] })
})

test.each<[string, Environment, RegExp]>([
  ['another exporter', { OTEL_TRACES_EXPORTER: 'zipkin' }, /OTEL_TRACES_EXPORTER/],
  ['gRPC', { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, /4318/],
  ['JSON', { OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' }, /http\/protobuf/],
  ['an endpoint that is no URL', { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }, /OTEL_EXPORTER_OTLP_ENDPOINT/],
])('%s is not spoken: nothing is traced, and the log says why', (_name, env, warning) => {
  const { settings, warnings } = traceSettings({ ...ENDPOINT, ...env })

  expect(settings).toBeUndefined()
  expect(warnings).toEqual([expect.stringMatching(warning)])
})

test('an endpoint for traces alone is enough', () => {
  expect(traceSettings({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c/v1/traces' }).settings).toBeDefined()
})

describe('the sampler', () => {
  test.each<[Environment, object]>([
    [{}, { kind: 'always_on', isParentBased: true }],
    [{ OTEL_TRACES_SAMPLER: 'always_on' }, { kind: 'always_on', isParentBased: false }],
    [{ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, { kind: 'always_off', isParentBased: true }],
    [
      { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.25' },
      { kind: 'traceidratio', isParentBased: true, ratio: 0.25 },
    ],
  ])('of %j is %j', (env, expected) => {
    expect(samplerOf(env)).toMatchObject(expected)
    expect(traceSettings({ ...ENDPOINT, ...env }).warnings).toEqual([])
  })

  test.each<[Environment, object]>([
    [{ OTEL_TRACES_SAMPLER: 'jaeger_remote' }, { kind: 'always_on', isParentBased: true }],
    [
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '25%' },
      { kind: 'traceidratio', ratio: 1 },
    ],
    [
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '-1' },
      { kind: 'traceidratio', ratio: 1 },
    ],
  ])('of %j, which nobody understands, is the default, and the log says so', (env, expected) => {
    expect(samplerOf(env)).toMatchObject(expected)
    expect(traceSettings({ ...ENDPOINT, ...env }).warnings).toHaveLength(1)
  })
})

test('how spans are sent is set by the variables of the batch processor', () => {
  const env = { OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_BSP_MAX_QUEUE_SIZE: '50', OTEL_BSP_EXPORT_TIMEOUT: 'soon' }

  expect(traceSettings({ ...ENDPOINT, ...env })).toMatchObject({
    settings: {
      batch: { scheduledDelayMillis: 100, maxQueueSize: 50, maxExportBatchSize: 50, exportTimeoutMillis: 30_000 },
    },
    warnings: [expect.stringMatching(/OTEL_BSP_EXPORT_TIMEOUT/)],
  })
})
