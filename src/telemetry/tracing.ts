/**
 * Spans of what happens to a request, sent to a collector by OpenTelemetry. Loaded by `load-tracing.ts` alone; everybody
 * else imports its types.
 *
 * Nothing is registered globally and nothing is patched: who makes a span says so, and what belongs to a request finds
 * it by `AsyncLocalStorage`, which costs only where there is tracing.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  createTraceState,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { Log } from './log.ts'
import type { TraceSettings } from './trace-settings.ts'

export type { Attributes, Span }

/** The header fields of W3C Trace Context. */
export interface TraceContext {
  readonly traceparent: string
  readonly tracestate?: string | undefined
}

/** Version 00; ids of zeros are none (W3C Trace Context §3.2). */
const TRACEPARENT = /^00-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})$/
/** The collector may be away when the gateway stops; nobody waits for it longer. */
const CLOSE_MS = 3_000

export class Tracing {
  readonly #provider: TracerProvider
  readonly #tracer: Tracer
  readonly #current = new AsyncLocalStorage<Span>()

  constructor(provider: TracerProvider) {
    this.#provider = provider
    this.#tracer = provider.getTracer('sidegate')
  }

  /** Sends to the collector that the variables of the exporter name. */
  static toCollector(settings: TraceSettings, name: string, log: Log): Tracing {
    const exporter = new ReportedExporter(new OTLPTraceExporter(), log)
    return new Tracing(
      new TracerProvider({
        sampler: samplerOf(settings.sampler),
        resource: defaultResource()
          .merge(resourceFromAttributes({ 'service.name': name }))
          .merge(detectResources({ detectors: [envDetector] })),
        spanLimits: { attributeValueLengthLimit: 256 },
        spanProcessors: [new BatchSpanProcessor({ exporter, ...settings.batch })],
      }),
    )
  }

  /** The span of a request that came in, a child of its caller's where that sent a proper `traceparent`. */
  startServer(name: string, attributes: Attributes, caller: Partial<TraceContext>): Span {
    const [, traceId, spanId, flags] = TRACEPARENT.exec(caller.traceparent ?? '') ?? []
    const parent =
      traceId === undefined || spanId === undefined
        ? ROOT_CONTEXT
        : trace.setSpanContext(ROOT_CONTEXT, {
            traceId,
            spanId,
            traceFlags: Number.parseInt(flags ?? '0', 16),
            isRemote: true,
            ...(caller.tracestate !== undefined && { traceState: createTraceState(caller.tracestate) }),
          })
    return this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent)
  }

  /** The span of a call to another server, to be ended by the caller. */
  startClient(name: string, attributes: Attributes, parent = this.#current.getStore()): Span {
    return this.#start(name, SpanKind.CLIENT, attributes, parent)
  }

  /** What the task starts, now or later, is a child of this span. */
  within<T>(span: Span, task: () => T): T {
    return this.#current.run(span, task)
  }

  /** Runs a task in a span of its own; what it starts is a child of it. A failure marks the span and goes on. */
  async during<T>(name: string, attributes: Attributes, task: (span: Span) => Promise<T>): Promise<T> {
    const span = this.#start(name, SpanKind.INTERNAL, attributes, this.#current.getStore())
    try {
      return await this.#current.run(span, () => task(span))
    } catch (error) {
      this.fail(span, error)
      throw error
    } finally {
      span.end()
    }
  }

  /** Ends the span of a call by the status of its answer, or by what came instead of one. */
  endClient(span: Span, outcome: unknown): void {
    if (typeof outcome === 'number') span.setAttribute('http.response.status_code', outcome)
    if (typeof outcome !== 'number' || outcome >= 500) this.fail(span, outcome)
    span.end()
  }

  /** Marks a span as failed, by a status or the code of the failure: messages may quote what nobody should keep. */
  fail(span: Span, reason: unknown): void {
    span.setAttribute('error.type', kindOf(reason))
    span.setStatus({ code: SpanStatusCode.ERROR })
  }

  /** What tells the next server whose child it is. */
  contextOf(span: Span): TraceContext {
    const { traceId, spanId, traceFlags, traceState } = span.spanContext()
    const tracestate = traceState?.serialize()
    return {
      traceparent: `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`,
      ...(tracestate && { tracestate }),
    }
  }

  /** For log lines. */
  traceIdOf(span = this.#current.getStore()): string | undefined {
    return span?.spanContext().traceId
  }

  /** Sends what is left, as far as the collector takes it in time. */
  async close(): Promise<void> {
    const { promise: overdue, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, CLOSE_MS)
    await Promise.race([this.#provider.shutdown(), overdue]).catch(() => {
      // Said by the exporter; there is nothing left to do.
    })
    clearTimeout(timer)
  }

  #start(name: string, kind: SpanKind, attributes: Attributes, parent: Span | undefined): Span {
    const context = parent ? trace.setSpan(ROOT_CONTEXT, parent) : ROOT_CONTEXT
    return this.#tracer.startSpan(name, { kind, attributes }, context)
  }
}

function kindOf(reason: unknown): string {
  if (typeof reason === 'number' || typeof reason === 'string') return String(reason)
  const code: unknown = reason instanceof Error && 'code' in reason ? reason.code : undefined
  if (typeof code === 'string') return code
  return reason instanceof Error ? reason.name : 'unknown'
}

function samplerOf({ kind, isParentBased, ratio }: TraceSettings['sampler']): Sampler {
  const root = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  }[kind]()
  return isParentBased ? new ParentBasedSampler({ root }) : root
}

/** Says once that the collector takes nothing, and once that it does again. */
class ReportedExporter implements SpanExporter {
  readonly #inner: SpanExporter
  readonly #log: Log
  #isFailing = false

  constructor(inner: SpanExporter, log: Log) {
    this.#inner = inner
    this.#log = log
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.#inner.export(spans, (result) => {
      const isFailing = result.error !== undefined
      if (isFailing && !this.#isFailing)
        this.#log.warn({ err: result.error }, 'traces could not be sent; they are dropped')
      if (!isFailing && this.#isFailing) this.#log.info({}, 'traces are sent again')
      this.#isFailing = isFailing
      done(result)
    })
  }

  shutdown(): Promise<void> {
    return this.#inner.shutdown()
  }

  forceFlush(): Promise<void> {
    return this.#inner.forceFlush?.() ?? Promise.resolve()
  }
}
