import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { closeFrame, FrameFollower } from '../../src/proxy/frame-follower.ts'

/** A frame by RFC 6455 §5.2, written down from its figure and not with our code. */
function frame({ opcode, length, masked }: { opcode: number; length: number; masked: boolean }): Buffer {
  const size = Buffer.alloc(length < 126 ? 1 : length < 65_536 ? 3 : 9)
  size.writeUInt8(length < 126 ? length : length < 65_536 ? 126 : 127)
  if (size.length === 3) size.writeUInt16BE(length, 1)
  if (size.length === 9) size.writeBigUInt64BE(BigInt(length), 1)
  size[0] = size.readUInt8() | (masked ? 0x80 : 0)
  return Buffer.concat([
    Buffer.from([0x80 | opcode]),
    size,
    Buffer.alloc(masked ? 4 : 0, 0x5a),
    Buffer.alloc(length, 0x88),
  ])
}

const anyFrame = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 9, 10),
  length: fc.oneof(fc.integer({ min: 0, max: 130 }), fc.constantFrom(0, 125, 126, 127, 65_535, 65_536, 70_000)),
  masked: fc.boolean(),
})

/** The same bytes in other pieces. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  let at = 0
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

const sizes = fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 5 })

describe('the boundaries of frames', () => {
  test('however frames are cut into pieces, the follower stands between two exactly at their ends', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 6 }), sizes, (frames, pieces) => {
        const buffers = frames.map(frame)
        const ends = new Set([0])
        buffers.reduce((at, one) => (ends.add(at + one.length), at + one.length), 0)
        const follower = new FrameFollower()
        let at = 0
        for (const piece of cut(Buffer.concat(buffers), pieces)) {
          follower.advance(piece)
          at += piece.length
          expect(follower.isBetweenFrames).toBe(ends.has(at))
        }
        expect(follower.hasClosed).toBe(false)
      }),
      { numRuns: 200 },
    )
  })

  test('from anywhere in a frame the next end is found, and no byte of the next frame is taken', () => {
    fc.assert(
      fc.property(anyFrame, anyFrame, fc.nat(), (first, second, cutAt) => {
        const [one, two] = [frame(first), frame(second)]
        const at = 1 + (cutAt % Math.max(one.length - 1, 1))
        const follower = new FrameFollower()
        follower.advance(one.subarray(0, at))

        const rest = Buffer.concat([one.subarray(at), two])

        expect(follower.advanceToEndOfFrame(rest)).toBe(at >= one.length ? two.length : one.length - at)
        expect(follower.isBetweenFrames).toBe(true)
      }),
    )
  })

  test('a Close has passed when its last byte has', () => {
    const follower = new FrameFollower()
    const close = frame({ opcode: 8, length: 20, masked: true })

    follower.advance(close.subarray(0, 25))
    expect(follower.hasClosed).toBe(false)
    follower.advance(close.subarray(25))
    expect(follower.hasClosed).toBe(true)
  })

  test('a length that no message has only makes the frame endless', () => {
    const follower = new FrameFollower()

    follower.advance(Buffer.concat([Buffer.from([0x82, 127]), Buffer.alloc(8, 0xff), Buffer.alloc(1_000)]))

    expect(follower.isBetweenFrames).toBe(false)
  })
})

test('our Close is a frame of its own, masked towards a server', () => {
  expect(closeFrame(4401, 'over')).toEqual(Buffer.from([0x88, 6, 0x11, 0x31, ...Buffer.from('over')]))
  const masked = closeFrame(1001, '', Buffer.from([1, 2, 3, 4]))
  expect(masked).toEqual(Buffer.from([0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]))
})
