import { afterAll, beforeAll, expect, test } from 'vitest'
import { atRedis } from '../support/misconfigurations/at-redis.ts'
import { atTheFront } from '../support/misconfigurations/at-the-front.ts'
import { atTheProvider } from '../support/misconfigurations/at-the-provider.ts'
import { atTheUpstream } from '../support/misconfigurations/at-the-upstream.ts'
import { Ward, findingsOf, linesOf } from '../support/misconfigurations/ward.ts'
import type { Finding } from '../../src/commands/doctor/finding.ts'
import type { Misconfiguration } from '../support/misconfigurations/ward.ts'

const misconfigurations: readonly Misconfiguration[] = [...atTheProvider, ...atTheUpstream, ...atRedis, ...atTheFront]

let ward: Ward

beforeAll(async () => {
  ward = await Ward.open()
})

afterAll(() => ward[Symbol.asyncDispose]())

test('at least 25 misconfigurations are found, repaired as printed, and gone', () => {
  expect(misconfigurations.length).toBeGreaterThanOrEqual(25)
})

test.each(misconfigurations)(
  '$title is found, and gone once the printed remedy is followed',
  async ({ status, about, finding, remedy, fine, state }) => {
    const { config, follow } = await state(ward)

    const before = await findingsOf(config)
    const [found, ...others] = before.filter((one) => one.about === about && finding.test(one.message))
    expect(others).toEqual([])
    expect(found, linesOf(before).join('\n')).toMatchObject({ status, remedy: expect.stringMatching(remedy) })
    expect(fineLines(before, about)).not.toContainEqual(expect.stringMatching(fine ?? /^$/))

    const after = await findingsOf(await follow(remedy.exec(found?.remedy ?? '') ?? []))
    const left = after.filter((one) => one.status === 'failure' || (one.about === about && finding.test(one.message)))
    expect(linesOf(left)).toEqual([])
    if (fine) expect(fineLines(after, about)).toContainEqual(expect.stringMatching(fine))
  },
)

function fineLines(findings: readonly Finding[], about: string): string[] {
  return findings.filter((one) => one.status === 'ok' && one.about === about).map(({ message }) => message)
}
