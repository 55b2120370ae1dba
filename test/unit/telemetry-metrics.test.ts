import { expect, test } from 'vitest'
import { Metrics } from '../../src/telemetry/metrics.ts'

test('every metric that is documented is there from the start, with the process defaults', async () => {
  const text = await new Metrics().render()

  const names = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`)
  expect(names).toEqual(
    expect.arrayContaining([
      'sidegate_requests_total counter',
      'sidegate_request_duration_seconds histogram',
      'sidegate_upstream_duration_seconds histogram',
      'sidegate_logins_total counter',
      'sidegate_refreshes_total counter',
      'sidegate_sessions_started_total counter',
      'sidegate_sessions_ended_total counter',
      'sidegate_csrf_rejections_total counter',
      'sidegate_store_duration_seconds histogram',
      'sidegate_store_errors_total counter',
      'sidegate_session_cache_total counter',
      'sidegate_provider_duration_seconds histogram',
      'sidegate_open_streams gauge',
      'process_cpu_seconds_total counter',
      'nodejs_eventloop_lag_seconds gauge',
    ]),
  )
})

test('labels are those that are documented', async () => {
  const metrics = new Metrics({ defaults: false })

  metrics.countRequest('/api', 'GET', 200, 0.004)
  metrics.countRequest('/api', 'GET', 200, 0.004)
  metrics.logins.inc({ outcome: 'succeeded' })
  metrics.sessionsEnded.inc({ reason: 'logout' })
  metrics.openStreams.inc({ kind: 'websocket' })
  metrics.openStreams.dec({ kind: 'websocket' })

  const text = await metrics.render()
  expect(text).toContain('sidegate_requests_total{route="/api",method="GET",status="200"} 2')
  expect(text).toContain('sidegate_request_duration_seconds_count{route="/api"} 2')
  expect(text).toContain('sidegate_logins_total{outcome="succeeded"} 1')
  expect(text).toContain('sidegate_sessions_ended_total{reason="logout"} 1')
  expect(text).toContain('sidegate_open_streams{kind="websocket"} 0')
})

test('made-up methods share one label, so that a client cannot grow the registry (R71)', async () => {
  const metrics = new Metrics({ defaults: false })

  for (let i = 0; i < 1_000; i++) metrics.countRequest('/api', `MADEUP${i}`, 405, 0.001)

  const text = await metrics.render()
  expect(text).toContain('sidegate_requests_total{route="/api",method="other",status="405"} 1000')
  expect(text).not.toContain('MADEUP')
})

test('two gateways in one process count apart', async () => {
  const [one, other] = [new Metrics({ defaults: false }), new Metrics({ defaults: false })]

  one.sessionsStarted.inc()

  expect(await one.render()).toContain('sidegate_sessions_started_total 1')
  expect(await other.render()).toContain('sidegate_sessions_started_total 0')
})
