/**
 * The attack corpus that is kept beside this repository, replayed on raw sockets against two gateways on one store,
 * in turns. What each case may answer stands in the corpus; the one answer that we give, in `attack-statuses.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { attackStatuses } from '../support/attack-statuses.ts'
import { hasCorpora } from '../support/corpus.ts'
import { CorpusWorld, isPipelined, readAttackCases } from '../support/corpus-world.ts'
import type { AttackCase, Played } from '../support/corpus-world.ts'
import type { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import type { RawMessage } from '../support/raw-http.ts'

/** The cases that wait for a limit of ours; they run side by side, in `attack-corpus-slow.test.ts`. */
function isSlow({ timing = {} }: AttackCase): boolean {
  return !('close_after_ms' in timing || 'answer_within_ms' in timing || Object.keys(timing).length === 0)
}

describe.skipIf(!hasCorpora)('the attack corpus', () => {
  let world: CorpusWorld
  const cases = hasCorpora ? readAttackCases() : []

  beforeAll(async () => {
    world = await CorpusWorld.start({ instances: 2 })
  })

  test('has been read', () => {
    expect(cases.length).toBeGreaterThan(200)
  })
  afterAll(async () => {
    expect(await world.health()).toEqual([200, 200])
    await world[Symbol.asyncDispose]()
  })

  test.each(cases.filter((attack) => !isSlow(attack)))(
    '$category: $name (R72)',
    async (attack) => {
      world.nextTurn()
      await world.wellFormedRequest()
      const tokenBefore = world.fill('{AT}')
      const outcome = await world.play(attack)

      expect(statusOf(await world.wellFormedRequest())).toBe(200)
      judge(attack, outcome, world, [tokenBefore, world.fill('{AT}')])
    },
    40_000,
  )
})

function judge(
  attack: AttackCase,
  { answers, client, requests }: Played,
  world: CorpusWorld,
  tokens: readonly string[],
): void {
  const { expect: wanted } = attack
  const statuses = answers.map(statusOf)
  expect(statuses.join() || 'close').toBe(attackStatuses.get(attack.name))
  if (isPipelined(attack)) expect(statuses).toEqual(wanted.status)
  else expect(wanted.status, `answered ${statuses.join()}`).toContain(statuses[0] ?? 'close')
  if (wanted.upstream?.requests !== undefined) expect([wanted.upstream.requests].flat()).toContain(requests.length)
  for (const request of requests) judgeRequest(attack, request, world, tokens)
  const [answer] = answers
  if (answer) judgeAnswer(attack, answer, client, world)
  expect(statuses).not.toContain(500)
  for (const secret of world.secrets) expect(world.log.text).not.toContain(secret)
}

/** @param tokens of the session: an upstream's 401 is answered by one refresh */
function judgeRequest(
  { expect: { upstream = {} } }: AttackCase,
  request: RawMessage,
  world: CorpusWorld,
  tokens: readonly string[],
): void {
  const [method, path] = request.startLine.split(' ')
  if (upstream.path !== undefined) expect(path).toBe(upstream.path)
  if (upstream.path_not !== undefined) expect(path).not.toBe(upstream.path_not)
  if (upstream.method !== undefined) expect(method).toBe(upstream.method)
  if (upstream.complete === false) expect(request.isComplete).toBe(false)
  if (upstream.body !== undefined) expect(request.body.toString('latin1')).toBe(upstream.body)
  if (upstream.body_hex !== undefined) expect(request.body.toString('hex')).toBe(upstream.body_hex)
  for (const name of upstream.header_absent ?? []) expect(valuesOf(request, name), name).toEqual([])
  for (const name of upstream.header_present ?? []) expect(valuesOf(request, name), name).not.toEqual([])
  for (const [name, value] of Object.entries(upstream.header_equals ?? {})) {
    expect(valuesOf(request, name), name).toEqual([world.fill(value)])
  }
  for (const [name, count] of Object.entries(upstream.header_count ?? {}))
    expect(valuesOf(request, name)).toHaveLength(count)
  for (const [name, part] of Object.entries(upstream.header_not_contains ?? {})) {
    expect(valuesOf(request, name).join(), name).not.toContain(part)
  }
  // What holds for every case.
  const bytes = JSON.stringify(request.fields) + request.startLine
  for (const secret of world.secrets) expect(bytes).not.toContain(secret)
  expect(path).toMatch(/^\/(?:v1|w)\//)
  if (path?.startsWith('/v1/') && !path.startsWith('/v1/public/')) {
    expect(tokens.map((token) => [`Bearer ${token}`])).toContainEqual(valuesOf(request, 'authorization'))
  }
}

function judgeAnswer(
  { expect: { client: wanted = {} }, client: atTop = {} }: AttackCase,
  answer: RawMessage,
  client: RawClient,
  world: CorpusWorld,
): void {
  const expected = { ...atTop, ...wanted }
  const location = valuesOf(answer, 'location').join()
  const setCookie = valuesOf(answer, 'set-cookie').join().toLowerCase()
  const body = answer.body.toString('latin1')
  if (expected.location_contains !== undefined) expect(location).toContain(expected.location_contains)
  if (expected.location_excludes !== undefined) expect(location).not.toContain(world.fill(expected.location_excludes))
  for (const name of expected.set_cookie_excludes ?? []) expect(setCookie).not.toContain(name)
  for (const name of expected.header_absent ?? []) expect(valuesOf(answer, name)).toEqual([])
  for (const part of [expected.body_excludes ?? []].flat()) expect(body).not.toContain(part)
  if (expected.connection_closed === true) expect(client.isClosed).toBe(true)
  if (expected.complete === false) expect(answer.isComplete).toBe(false)
  if (expected.cache_control !== undefined) {
    expect(valuesOf(answer, 'cache-control').join()).not.toMatch(/public|s-maxage/)
    expect(valuesOf(answer, 'vary').join()).toMatch(/cookie/i)
  }
}
