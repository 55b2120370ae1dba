import { writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { type SessionProcess, startSessionProcesses, type WorkerSettings } from '../support/session-processes.ts'
import { redisConfig } from '../support/sessions.ts'
import { startTokenServer, type TokenServer } from '../support/token-server.ts'

let redis: RedisServer
let tokenServer: TokenServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

/** Processes of one test, with a token server of their own. */
async function gateways(count: number, changes: Partial<WorkerSettings> = {}) {
  tokenServer = await startTokenServer()
  const world = await startSessionProcesses(count, {
    redis: redisConfig({ url: redis.url }),
    tokenServer: tokenServer.url,
    ...changes,
  })
  onTestFinished(async () => {
    await world[Symbol.asyncDispose]()
    await tokenServer[Symbol.asyncDispose]()
  })
  const [first, ...others] = world.processes as [SessionProcess, ...SessionProcess[]]
  return { ...world, first, others }
}

let users = 0
const newUser = () => `user-${(users += 1)}`
const expired = () => ({ accessTokenExpiresAt: Date.now() - 1 })

describe('one refresh over several processes', () => {
  test('500 requests over four processes lead to one grant and 500 answers with the new token (R2, RF-03)', async () => {
    const { first, processes } = await gateways(4)
    tokenServer.delayMs = 300
    const { cookieValue, session } = await first.create(newUser(), expired())

    const answers = (await Promise.all(processes.map((one) => one.resolveMany(cookieValue, 125)))).flat()

    expect(tokenServer.asked).toEqual([session.tokens.refreshToken])
    expect(answers).toHaveLength(500)
    expect(new Set(answers)).toEqual(new Set([`access-1-of-${session.tokens.refreshToken}`]))
  })

  test.each([2, 4])(
    'fifty times over %i processes, a hundred requests at once are one grant, and nobody is refused (R2)',
    async (count) => {
      const { first, processes } = await gateways(count)
      const answers: string[][] = []
      for (let round = 0; round < 50; round += 1) {
        const { cookieValue } = await first.create(newUser(), expired())
        // As a balancer would spread them.
        answers.push((await Promise.all(processes.map((one) => one.resolveMany(cookieValue, 100 / count)))).flat())
      }

      expect(tokenServer.asked).toHaveLength(50)
      expect(answers.map((each) => new Set(each).size)).toEqual(Array(50).fill(1))
      expect(answers.flat().filter((answer) => answer.startsWith('access-'))).toHaveLength(5_000)
    },
  )

  test('whatever four processes do at once, no refresh token is ever used twice (R2, RF-03)', async () => {
    const { first, processes } = await gateways(4)
    tokenServer.lifetimeMs = 1 // as good as expired when it arrives
    const { cookieValue } = await first.create(newUser(), expired())
    for (let round = 0; round < 20; round++) await Promise.all(processes.map((one) => one.resolveMany(cookieValue, 5)))

    expect(tokenServer.asked.length).toBeGreaterThan(20)
    expect(new Set(tokenServer.asked).size).toBe(tokenServer.asked.length)
  })

  test('the lease is renewed while the provider takes four times as long (R4)', async () => {
    const { first, processes } = await gateways(4, { leaseMs: 500 })
    tokenServer.delayMs = 2_000
    const { cookieValue } = await first.create(newUser(), expired())

    const answers = (await Promise.all(processes.map((one) => one.resolveMany(cookieValue, 10)))).flat()

    expect(tokenServer.asked).toHaveLength(1)
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toMatch(/^access-1-/)
  })

  test('waiters are woken by an event, not by the end of the lease (R2)', async () => {
    const { first, others } = await gateways(2, { leaseMs: 60_000 })
    tokenServer.delayMs = 400
    const { cookieValue } = await first.create(newUser(), expired())
    const holder = first.resolve(cookieValue)
    await tokenServer.untilAsked(1)

    const waiter = await others[0]?.resolve(cookieValue)
    expect(waiter?.tokens.accessToken).toBe((await holder).tokens.accessToken)
  })

  test('a holder that is stopped for longer than its lease and woken again writes nothing (R4)', async () => {
    const { first, others } = await gateways(2, { leaseMs: 500 })
    const second = others[0] as SessionProcess
    tokenServer.delayMs = 300
    const { cookieValue, session } = await first.create(newUser(), expired())
    const sleeper = first.resolve(cookieValue).catch((error: Error) => error.message)
    await tokenServer.untilAsked(1)
    first.stop()

    // The strict server has spent the token for the sleeper: the successor's grant is refused, which ends the session.
    await expect(second.resolve(cookieValue)).rejects.toThrow('session_expired')
    first.wake()

    expect(await sleeper).toBe('session_expired')
    expect(await second.call('peek', cookieValue)).toBeUndefined()
    expect(tokenServer.asked).toEqual([session.tokens.refreshToken, session.tokens.refreshToken])
  })

  test('a stopped holder whose successor was served by a lenient provider takes the successor’s tokens (R4, R6)', async () => {
    const { first, others } = await gateways(2, { leaseMs: 500 })
    const second = others[0] as SessionProcess
    tokenServer.delayMs = 300
    tokenServer.hasGrace = true
    const { cookieValue, session } = await first.create(newUser(), expired())
    const sleeper = first.resolve(cookieValue)
    await tokenServer.untilAsked(1)
    first.stop()
    const successor = await second.resolve(cookieValue)
    first.wake()

    expect(successor.tokens.accessToken).toBe(`access-2-of-${session.tokens.refreshToken}`)
    expect((await sleeper).tokens).toEqual(successor.tokens)
    expect((await second.resolve(cookieValue)).tokens).toEqual(successor.tokens)
  })

  test('a holder that is killed blocks the others for its lease at most (R9)', async () => {
    const { first, others } = await gateways(2, { leaseMs: 1_000 })
    tokenServer.delayMs = 60_000
    const { cookieValue } = await first.create(newUser(), expired())
    void first.resolve(cookieValue).catch(() => {})
    await tokenServer.untilAsked(1)
    await first.kill()
    tokenServer.delayMs = 0

    await expect(others[0]?.resolve(cookieValue)).rejects.toThrow('session_expired')
    expect(tokenServer.asked).toHaveLength(2)
  })
})

describe('ended means ended, everywhere', () => {
  test('a logout is effective in every process within a second, and listeners hear its reason (R20)', async () => {
    const { first, processes } = await gateways(4)
    const { cookieValue, session } = await first.create(newUser())
    await Promise.all(processes.map((one) => one.resolve(cookieValue)))
    await Promise.all(processes.map((one) => one.call('watch', session.ref)))
    expect(await Promise.all(processes.map((one) => one.call('isCached', cookieValue)))).toEqual(Array(4).fill(true))

    const endedAt = Date.now()
    await first.call('end', cookieValue)

    await expect.poll(() => processes.map((one) => one.heard.length)).toEqual([1, 1, 1, 1])
    for (const one of processes) {
      expect(one.heard[0]?.event).toEqual({ type: 'ended', reason: 'logout' })
      expect((one.heard[0]?.at ?? 0) - endedAt).toBeLessThan(1_000)
      await expect(one.resolve(cookieValue)).rejects.toThrow('session_expired')
    }
  })

  test('back-channel logout ends sessions that were made in another process (LO-10, R20)', async () => {
    const { first, others } = await gateways(2)
    const { cookieValue, session } = await first.create(newUser(), {}, 'provider session 7')

    expect(await others[0]?.call('endByProviderSession', session.issuer, 'provider session 7')).toBe(1)
    await expect(first.resolve(cookieValue)).rejects.toThrow('session_expired')
  })

  test('a process that was stopped serves nothing from before when it wakes (R32)', async () => {
    const { first, others } = await gateways(2)
    const sleeper = others[0] as SessionProcess
    const { cookieValue } = await first.create(newUser())
    await sleeper.resolve(cookieValue)
    sleeper.stop()
    await first.call('end', cookieValue)
    await delay(1_200)
    const answer = sleeper.resolve(cookieValue)
    sleeper.wake()

    await expect(answer).rejects.toThrow('session_expired')
  })
})

test('keys rotate over four processes that see the file at different times, and nobody is signed out (R28)', async () => {
  const { first, processes, keysFile, key } = await gateways(4)
  const made = await Promise.all(Array.from({ length: 8 }, () => first.create(newUser())))
  const next = KeyRing.generateKey()
  const steps = [`${key}\n${next}\n`, `${next}\n${key}\n`]

  for (const content of steps) {
    await writeFile(keysFile, content)
    for (const one of processes) {
      await one.call('updateKeys')
      // Between two processes' turns: one seals with what another may not have seen yet.
      made.push(await one.create(newUser()))
      for (const { cookieValue } of made) {
        const answers = await Promise.all(processes.map((other) => other.call('peek', cookieValue)))
        expect(answers.every((answer) => answer !== undefined)).toBe(true)
      }
    }
  }
})

test('a process that has not seen the new key at all reads the file when it meets it (R28)', async () => {
  const { first, others, keysFile, key } = await gateways(2)
  const next = KeyRing.generateKey()
  await writeFile(keysFile, `${next}\n${key}\n`)
  await first.call('updateKeys')
  const { cookieValue } = await first.create(newUser())

  await expect(others[0]?.resolve(cookieValue)).resolves.toBeDefined()
})
