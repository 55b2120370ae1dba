/** `npm test` itself: what it finds, what it installs, and when a run must not pass. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { findProgram, provide, type Tool } from '../../scripts/test-tools.mjs'
import { judge } from '../../scripts/test-verdict.mjs'

const redis = {
  what: 'a Redis server',
  names: ['redis-server', 'valkey-server'],
  packages: ['redis-server', 'valkey-server'],
}
const chromium = { what: 'Chromium', names: ['chromium'], packages: ['chromium'] }

/** A machine on which apt knows these packages; each brings the program of its name. */
function machine(known: string[], { isRoot = true, apt = true } = {}) {
  const installed = new Set(apt ? ['apt-get'] : [])
  const commands: string[] = []
  return {
    commands,
    options: {
      isRoot,
      find: (names: readonly string[]) => names.find((name) => installed.has(name)),
      run: (_command: string, args: readonly string[]) => {
        commands.push(args.join(' '))
        // One argument for each package, as apt wants them.
        const name = args.every((one) => !one.includes(' ')) ? (args.at(-1) ?? '') : ''
        if (args[0] === 'install' && known.includes(name)) installed.add(name)
      },
    },
  }
}

const both: readonly Tool[] = [redis, chromium]

describe('what the tests need', () => {
  test('is found on the PATH, in the order of preference of its names', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sidegate-tools-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    for (const name of ['zz-second', 'zz-third', 'zz-first']) await writeFile(join(directory, name), '')
    await chmod(join(directory, 'zz-second'), 0o755)
    await chmod(join(directory, 'zz-third'), 0o755)

    expect(findProgram(['zz-first', 'zz-second', 'zz-third'], directory)).toBe(join(directory, 'zz-second'))
    expect(findProgram(['zz-nothing'], directory)).toBeUndefined()
  })

  test('is installed by root with apt: one update, then what is missing', () => {
    const { options, commands } = machine(['redis-server', 'chromium'])

    expect(provide(both, options)).toBeUndefined()

    expect(commands).toEqual([
      'update',
      'install -y --no-install-recommends redis-server',
      'install -y --no-install-recommends chromium',
    ])
  })

  test('is installed together with what it cannot be configured without', () => {
    const { options, commands } = machine(['glewlwyd'])

    expect(provide([{ what: 'glewlwyd', names: ['glewlwyd'], packages: ['a-database glewlwyd'] }], options)).toBe(
      undefined,
    )

    expect(commands.at(-1)).toBe('install -y --no-install-recommends a-database glewlwyd')
  })

  test('is installed under its other name where apt does not know the first', () => {
    const { options } = machine(['valkey-server'])

    expect(provide([redis], options)).toBeUndefined()
  })

  test.each([
    ['not root', { isRoot: false }],
    ['no apt', { apt: false }],
  ])('is asked for in one line where it cannot be installed (%s)', (_, kind) => {
    const { options, commands } = machine(['redis-server', 'chromium'], kind)

    expect(provide(both, options)).toBe(
      'the tests need a Redis server and Chromium: install redis-server and chromium (apt-get install -y redis-server chromium)',
    )
    expect(commands).toEqual([])
  })

  test.each([
    ['apt does not have it', {}, 'install -y --no-install-recommends firefox-esr'],
    ['nobody may install it', { isRoot: false }, undefined],
  ])('is done without where it is optional and %s', (_, kind, last) => {
    const { options, commands } = machine([], kind)

    const firefox = { what: 'Firefox', names: ['firefox-esr'], packages: ['firefox-esr'], isOptional: true }
    expect(provide([firefox], options)).toBeUndefined()
    expect(commands.at(-1)).toBe(last)
  })

  test('is asked for in one line where apt fails', () => {
    const { options } = machine(['redis-server'])

    expect(provide(both, options)).toBe(
      'apt could not install it; the tests need Chromium: install chromium (apt-get install -y chromium)',
    )
  })
})

describe('a finished run', () => {
  const ran = (fullName: string, status: string) => ({ fullName, status })
  const report = (...assertionResults: { fullName: string; status: string }[]) => ({
    testResults: [{ status: 'passed', assertionResults }],
  })

  test('is counted', () => {
    const result = judge(report(ran('a', 'passed'), ran('b', 'passed'), ran('c', 'failed')), [], true)

    expect(result).toEqual({ passed: 2, failed: 1, skipped: 0, complaints: [] })
  })

  test.each(['pending', 'skipped', 'todo'])('does not pass with a %s test that is not in the list', (status) => {
    const { complaints } = judge(report(ran('a', 'passed'), ran('works on Tuesdays', status)), [], true)

    expect(complaints).toEqual(['skipped, and not in test/skips.json: works on Tuesdays'])
  })

  test('passes with a skipped test that the list explains', () => {
    const result = judge(
      report(ran('works on Tuesdays', 'skipped')),
      [{ title: '^works on', reason: 'needs a Tuesday' }],
      true,
    )

    expect(result).toMatchObject({ skipped: 1, complaints: [] })
  })

  test('does not pass while the list names a test that is not there, unless only some were asked for', () => {
    const skips = [{ title: '^gone$', reason: 'it was slow' }]

    expect(judge(report(ran('a', 'passed')), skips, true).complaints).toEqual([
      'listed in test/skips.json, and no such test: ^gone$',
    ])
    expect(judge(report(ran('a', 'passed')), skips, false).complaints).toEqual([])
  })

  test('does not pass while the list gives no reason', () => {
    const { complaints } = judge(report(ran('a', 'skipped')), [{ title: 'a', reason: '' }], true)

    expect(complaints).toEqual(['test/skips.json gives no reason for: a'])
  })

  test('counts a file that could not be loaded as a failure', () => {
    const broken = {
      testResults: [{ status: 'failed', assertionResults: [] }, ...report(ran('a', 'passed')).testResults],
    }

    expect(judge(broken, [], true).failed).toBe(1)
  })

  test('does not pass when no test ran', () => {
    expect(judge({ testResults: [] }, [], true).complaints).toEqual(['no test ran'])
  })
})
