/** A collector of traces: takes OTLP over HTTP with protobuf and reads what is in it. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  /** 2 is an error. */
  readonly status: number
  /** Attributes of the process that sent it. */
  readonly resource: Readonly<Record<string, string | number | boolean>>
}

export class Collector implements AsyncDisposable {
  readonly spans: CollectedSpan[] = []
  /** Bodies as they came, for searches for what must not be in them. */
  readonly bodies: Buffer[] = []
  /** What it answers. */
  status = 200
  readonly #waiting = new Set<() => void>()
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const isGood = request.method === 'POST' && request.url === '/v1/traces' && this.status === 200
      response.writeHead(isGood ? 200 : this.status === 200 ? 404 : this.status).end()
      if (!isGood) return
      const body = Buffer.concat(chunks)
      const plain = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
      this.bodies.push(plain)
      this.spans.push(...spansIn(plain))
      for (const wake of this.#waiting) wake()
    })
  })

  static async start(): Promise<Collector> {
    const collector = new Collector()
    await new Promise<void>((resolve) => collector.#server.listen(0, '127.0.0.1', resolve))
    return collector
  }

  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}` // it listens on TCP
  }

  /** Resolves with the spans of a trace once these are there, and in any case all that came with them. */
  async until(isThere: (spans: readonly CollectedSpan[]) => boolean): Promise<readonly CollectedSpan[]> {
    while (!isThere(this.spans)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await promise
      this.#waiting.delete(resolve)
    }
    return this.spans
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** One field of a protobuf message: a varint, eight or four bytes, or bytes of a known length. */
interface Field {
  readonly number: number
  readonly varint: bigint
  readonly bytes: Buffer
}

/** opentelemetry/proto/collector/trace/v1: ExportTraceServiceRequest. */
function spansIn(body: Buffer): CollectedSpan[] {
  return all(body, 1).flatMap((resourceSpans) => {
    const resource = attributesIn(all(resourceSpans, 1)[0] ?? Buffer.alloc(0), 1)
    return all(resourceSpans, 2).flatMap((scopeSpans) => all(scopeSpans, 2).map((span) => spanIn(span, resource)))
  })
}

function spanIn(span: Buffer, resource: CollectedSpan['resource']): CollectedSpan {
  const hex = (number: number): string => (all(span, number)[0] ?? Buffer.alloc(0)).toString('hex')
  const status = all(span, 15)[0]
  return {
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: String(all(span, 5)[0]),
    kind: Number(fieldsIn(span).find(({ number }) => number === 6)?.varint),
    attributes: attributesIn(span, 9),
    status: status ? Number(fieldsIn(status).find(({ number }) => number === 3)?.varint ?? 0) : 0,
    resource,
  }
}

/** KeyValue { key = 1, value = 2 }, AnyValue { string = 1, bool = 2, int = 3, double = 4 }. */
function attributesIn(message: Buffer, number: number): Record<string, string | number | boolean> {
  return Object.fromEntries(
    all(message, number).map((pair) => {
      const key = String(all(pair, 1)[0])
      const [value] = fieldsIn(all(pair, 2)[0] ?? Buffer.alloc(0))
      if (value?.number === 1) return [key, String(value.bytes)]
      if (value?.number === 2) return [key, value.varint === 1n]
      return [key, value?.number === 4 ? value.bytes.readDoubleLE() : Number(value?.varint)]
    }),
  )
}

function all(message: Buffer, number: number): Buffer[] {
  return fieldsIn(message)
    .filter((field) => field.number === number)
    .map(({ bytes }) => bytes)
}

function fieldsIn(message: Buffer): Field[] {
  const fields: Field[] = []
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(message[at] ?? 0)
      at += 1
      value |= (byte & 0x7fn) << shift
      if (byte < 0x80n) return value
    }
  }
  while (at < message.length) {
    const tag = Number(varint())
    const wire = tag & 7
    const number = tag >> 3
    if (wire === 0) {
      fields.push({ number, varint: varint(), bytes: Buffer.alloc(0) })
      continue
    }
    const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : 4
    fields.push({ number, varint: 0n, bytes: message.subarray(at, at + length) })
    at += length
  }
  return fields
}
