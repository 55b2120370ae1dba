/** The Prometheus metrics of one gateway, on a registry of their own. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from '@prometheus-io/client'

/** Seconds; the low end resolves what the gateway adds, the high end what a slow upstream takes. */
const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
/** Seconds; a healthy store answers in under a millisecond and is given up after half a second. */
const STORE_BUCKETS = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'])

export interface MetricsOptions {
  /** Also the process and event-loop defaults; off in tests that build many. */
  readonly defaults?: boolean
  /** Called before each look at the metrics, to set what is only known then. */
  readonly look?: (metrics: Metrics) => void
}

/** A counter by outcome that takes no other outcomes than its own. */
export interface OutcomeCounter<Outcome extends string> {
  inc(labels: { readonly outcome: Outcome }): void
  labels(outcome: Outcome): { inc(): void }
}

/**
 * Every metric of `docs/operations.md`; modules take `metrics?: Metrics` or a `Pick`.
 *
 * Label values come from fixed sets and from the configuration, never from a request: one client must not be able
 * to fill the registry's memory (R71).
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #look: MetricsOptions['look']
  readonly #children = new Map<string, { inc(): void }>()
  readonly #durations = new Map<string, { observe(seconds: number): void }>()

  readonly requests = this.#counter('requests_total', 'Requests answered on the public listener.', [
    'route',
    'method',
    'status',
  ])
  readonly requestDuration = this.#histogram(
    'request_duration_seconds',
    'Time from the request head to the end of the answer.',
    ['route'],
    REQUEST_BUCKETS,
  )
  readonly upstreamDuration = this.#histogram(
    'upstream_duration_seconds',
    "Time from sending a request upstream to the head of the upstream's answer.",
    ['route'],
    REQUEST_BUCKETS,
  )
  readonly logins = this.#outcomes('logins_total', 'Callbacks, by how they ended.', [
    'succeeded',
    'failed',
    'unavailable',
  ])
  readonly refreshes = this.#outcomes('refreshes_total', 'Token refreshes, by how they ended.', [
    'refreshed',
    'joined',
    'rejected',
    'unavailable',
  ])
  readonly sessionsStarted = this.#counter('sessions_started_total', 'Sessions created.', [])
  readonly sessionsEnded = this.#counter('sessions_ended_total', 'Sessions ended, by reason.', ['reason'])
  readonly csrfRejections = this.#counter('csrf_rejections_total', 'Requests refused as cross-site, by reason.', [
    'reason',
  ])
  readonly storeDuration = this.#histogram(
    'store_duration_seconds',
    'Time of one operation of the session store.',
    ['operation'],
    STORE_BUCKETS,
  )
  readonly storeErrors = this.#counter('store_errors_total', 'Operations that the session store could not do.', [])
  readonly sessionCache = this.#outcomes('session_cache_total', 'Look-ups in the session cache, by outcome.', [
    'hit',
    'miss',
    'bypass',
    'grace',
  ])
  readonly providerDuration = this.#histogram(
    'provider_duration_seconds',
    'Time of one call to the authorization server.',
    ['endpoint'],
    REQUEST_BUCKETS,
  )
  readonly openStreams = this.#gauge('open_streams', 'WebSockets and event streams that are open now.', 'kind')
  readonly providerUp = this.#gauge(
    'provider_up',
    'Whether the authorization server answered well when it was last spoken to.',
    'provider',
  )
  readonly certificateExpiry = this.#gauge(
    'certificate_expiry_timestamp_seconds',
    'When a configured certificate ends, by its setting.',
    'setting',
  )
  readonly configReloads = this.#outcomes('config_reloads_total', 'Changed configurations, by what became of them.', [
    'taken',
    'refused',
  ])

  constructor(options: MetricsOptions = {}) {
    this.#look = options.look
    if (options.defaults ?? true) collectDefaultMetrics({ register: this.#registry })
    for (const kind of ['websocket', 'events']) this.openStreams.set({ kind }, 0)
  }

  /** One answered request. `route` is the configured path or an endpoint's name, never the path that was asked for. */
  countRequest(route: string, method: string, status: number, seconds: number): void {
    const label = METHODS.has(method) ? method : 'other'
    const key = `${status} ${label} ${route}`
    // The bound child is kept: finding it by its labels costs more than counting.
    let child = this.#children.get(key)
    if (child === undefined) {
      child = this.requests.labels(route, label, String(status))
      this.#children.set(key, child)
    }
    child.inc()
    let duration = this.#durations.get(route)
    if (duration === undefined) {
      duration = this.requestDuration.labels(route)
      this.#durations.set(route, duration)
    }
    duration.observe(seconds)
  }

  /** The `Content-Type` that belongs to what `render` returns. */
  get contentType(): string {
    return this.#registry.contentType
  }

  /** All metrics in Prometheus text format. */
  render(): Promise<string> {
    this.#look?.(this)
    return this.#registry.metrics()
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name: `sidegate_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] })
  }

  /** A counter whose outcomes are known: each is there from the start, so that a rate sees the first of its kind. */
  #outcomes<Outcome extends string>(name: string, help: string, outcomes: readonly Outcome[]): OutcomeCounter<Outcome> {
    const counter = this.#counter(name, help, ['outcome'])
    for (const outcome of outcomes) counter.inc({ outcome }, 0)
    return counter
  }

  #gauge<Label extends string>(name: string, help: string, label: Label): Gauge<Label> {
    return new Gauge({ name: `sidegate_${name}`, help, labelNames: [label], registers: [this.#registry] })
  }

  #histogram<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    buckets: number[],
  ): Histogram<Label> {
    return new Histogram({
      name: `sidegate_${name}`,
      help,
      labelNames: [...labelNames],
      buckets,
      registers: [this.#registry],
    })
  }
}
