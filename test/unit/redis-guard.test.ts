import { expect, test } from 'vitest'
import { RedisGuard } from '../../src/session/redis-guard.ts'

/** As ioredis has it of an error reply. */
function reply(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' })
}

/** Fails so often, then succeeds; counts how often it was asked. */
function failing(reason: Error, times: number): { command: () => Promise<string>; asked: () => number } {
  let asked = 0
  const command = (): Promise<string> => {
    asked += 1
    return asked > times ? Promise.resolve('done') : Promise.reject(reason)
  }
  return { command, asked: () => asked }
}

test.each(['MOVED 12422 127.0.0.1:6379', 'ASK 12422 127.0.0.1:6379', 'TRYAGAIN Multiple keys request'])(
  'a command that a node of a cluster refuses by %s is sent again (R40)',
  async (message) => {
    const { command, asked } = failing(reply(message), 2)

    expect(await new RedisGuard(500).run('get', command)).toBe('done')
    expect(asked()).toBe(3)
  },
)

test('a slot that is nowhere is an outage in the end', async () => {
  const { command, asked } = failing(reply('MOVED 1 127.0.0.1:1'), 100)

  await expect(new RedisGuard(500).run('get', command)).rejects.toMatchObject({ code: 'store_unavailable' })
  expect(asked()).toBe(4)
})

test.each([reply('OOM command not allowed'), reply('READONLY You cannot write'), new Error('the connection broke')])(
  'nothing is sent twice that may have been carried out: %s',
  async (error) => {
    const { command, asked } = failing(error, 1)

    await expect(new RedisGuard(500).run('get', command)).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(asked()).toBe(1)
  },
)
