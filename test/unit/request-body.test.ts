import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { RequestBody } from '../../src/proxy/request-body.ts'

/** A request whose bytes come when the test says so, whether somebody wants them or not. */
class Source extends EventEmitter {
  readonly socket = new EventEmitter()
  readonly complete = false
  readonly destroyed = false
  readonly readableEnded = false
  pause(): void {}
  resume(): void {}
}

test('memory of a piece that waits is not written into, although who reads goes on', async () => {
  const source = new Source()
  const body = new RequestBody(source as unknown as IncomingMessage, { limit: undefined, onLastByte() {} })
  const got: Buffer[] = []
  body.on('data', (piece: Buffer) => got.push(Buffer.from(piece)))
  const piece = (byte: number) => Buffer.alloc(65_536, byte)
  await new Promise(setImmediate)

  source.emit('data', piece(1))
  body.pause()
  source.emit('data', piece(2))
  body.resume()
  source.emit('data', piece(3))
  source.emit('end')
  await new Promise((resolve) => body.once('end', resolve))

  expect(got.map((one) => one[0])).toEqual([1, 2, 3])
  expect(got.every((one) => one.equals(piece(one[0] ?? 0)))).toBe(true)
})
