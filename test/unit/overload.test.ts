import { expect, test } from 'vitest'
import { Overload } from '../../src/http/overload.ts'

interface Loop {
  readonly overload: Overload
  readonly told: string[]
  waiting: number
  places: number
  /** The timer fires, so much too late, so many times. */
  readonly turn: (lateMs: number, times?: number) => void
  /** How many of so many requests are admitted. */
  readonly admitted: (of: number) => number
}

function loop(): Loop {
  let at = 1_000
  const told: string[] = []
  const made: Loop = {
    overload: new Overload({
      waiting: () => made.waiting,
      places: () => made.places,
      log: { warn: (_, message) => void told.push(message), info: (_, message) => void told.push(message) },
      now: () => at,
    }),
    told,
    waiting: 1_000,
    places: 256,
    turn: (lateMs, times = 1) => {
      for (let left = times; left > 0; left -= 1) {
        at += 50 + lateMs
        made.overload.look()
      }
    },
    admitted: (of) => Array.from({ length: of }, () => made.overload.admits()).filter(Boolean).length,
  }
  return made
}

test('who is not late admits everybody, and one pause is no load (R63)', () => {
  const { turn, admitted, told } = loop()
  turn(5, 10)
  expect(admitted(100)).toBe(100)

  turn(2_000)
  expect(admitted(100)).toBe(100)
  turn(0)
  turn(2_000)
  expect(admitted(100)).toBe(100)
  expect(told).toEqual([])
})

test('late twice in a row, requests are refused, more the later it is and the longer (R63)', () => {
  const { turn, admitted } = loop()
  turn(250, 2)
  expect(admitted(100)).toBe(80)
  turn(250)
  expect(admitted(100)).toBe(64)
  turn(5_000)
  expect(admitted(100)).toBe(32)

  turn(500, 20)
  expect(admitted(320)).toBe(10)
})

test('in time again, more are taken at each look, and all of them after two seconds; its state is told twice (R63)', () => {
  const { turn, admitted, told } = loop()
  turn(300, 20)
  admitted(10)

  turn(0, 10)
  const some = admitted(100)
  expect(some).toBeGreaterThan(20)
  expect(some).toBeLessThan(40)
  turn(0, 30)
  expect(admitted(100)).toBe(100)
  turn(0, 40)
  expect(told).toEqual(['overloaded: requests are refused', 'no longer overloaded: every request is taken'])
})

test('between good and late a little more is taken at each look, so that it does not go to and fro', () => {
  const { turn, admitted } = loop()
  turn(400, 2)
  expect(admitted(100)).toBe(50)

  turn(150, 10)
  expect(admitted(100)).toBe(60)
})

test('over the bound nobody is taken who would have to wait, until some have gone (R63)', () => {
  const world = loop()
  world.waiting = 8_190
  world.turn(0)
  expect(world.admitted(10)).toBe(2)
  world.turn(0)
  expect(world.admitted(10)).toBe(2)

  world.waiting = 100
  world.turn(0)
  expect(world.admitted(10)).toBe(10)
  expect(world.told).toHaveLength(1)
  world.turn(0, 40)
  expect(world.told).toHaveLength(2)
})

test('an upstream for which more places are configured has room for them and their queue', () => {
  const world = loop()
  world.waiting = 9_000
  world.places = 10_000
  world.turn(0)

  expect(world.admitted(10)).toBe(10)
})

test('where few wait the loop is late for somebody else’s sake, and nobody is refused', () => {
  const made = loop()
  made.waiting = 10
  made.turn(500, 5)

  expect(made.admitted(50)).toBe(50)
  made.waiting = 64
  made.turn(500)
  expect(made.admitted(100)).toBeLessThan(20)
})
