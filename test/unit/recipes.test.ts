/** The recipes for authorization servers against `sidegate init`, `sidegate doctor` and what the gateway has registered. */
import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { examineQuirks, recognise } from '../../src/commands/doctor/quirks.ts'
import { Findings } from '../../src/commands/doctor/finding.ts'
import { configurationOf } from '../../src/commands/init.ts'
import { presets } from '../../src/commands/presets.ts'
import { registrations } from '../../src/commands/registration.ts'
import { blocks, readPage } from '../support/documents.ts'
import { loadMounted } from '../support/mounted-config.ts'

/** Page and preset. */
const recipes = Object.keys(presets)
  .filter((name) => name !== 'generic')
  .map((name) => [name === 'entra' ? 'entra-id' : name, name] as const)

test('there is a recipe for every preset, and the first page leads to each', () => {
  const overview = readPage('docs/recipes/README.md')

  expect(recipes.filter(([page]) => !overview.includes(`](${page}.md)`))).toEqual([])
  expect(recipes).toHaveLength(8)
})

test('the first page has every address to register as the gateway has it', () => {
  const overview = readPage('docs/recipes/README.md')
  const addresses = registrations({ publicUrl: 'https://app.example.com', basePath: '/bff' })

  expect(addresses.filter(({ what, uri }) => what !== 'JWKS of the client' && !overview.includes(uri))).toEqual([])
})

describe.each(recipes)('docs/recipes/%s.md', (page, name) => {
  const path = `docs/recipes/${page}.md`
  const [block] = blocks.filter((candidate) => candidate.page === path && candidate.language === 'yaml')
  const load = () => loadMounted(block?.text ?? '').config

  test('has the provider of its preset', () => {
    const preset = presets[name]
    if (!preset) throw new Error(`there is no preset ${name}`)
    const yaml = configurationOf(preset, {
      publicUrl: 'https://app.example.com',
      issuer: preset.issuer,
      clientId: load().provider?.clientId ?? '',
      api: 'http://orders:3000',
    })
    const { config } = parseConfig(yaml, 'sidegate.yaml', { env: { CLIENT_SECRET: 'x'.repeat(40) } })

    expect({ ...load().provider, clientSecret: undefined, clientSecretFile: undefined }).toEqual({
      ...config.provider,
      clientSecret: undefined,
      clientSecretFile: undefined,
    })
    const api = ({ routes }: typeof config) => routes.find((route) => route.path === '/api')
    expect(api(load())).toEqual(api(config))
  })

  test('is one of which doctor has nothing to say but that the server is recognised', () => {
    const findings = new Findings('provider')
    const { provider } = load()
    if (!provider) throw new Error('no provider')
    examineQuirks(load(), provider, findings)

    expect(recognise(provider.issuer)).toBeDefined()
    expect(findings.list.map(({ status }) => status)).toEqual(['ok'])
  })

  test('says how it is begun, and where users are sent back to', () => {
    const text = readPage(path)

    expect(text).toContain(`sidegate init --preset ${name}`)
    expect(text).toContain('`https://app.example.com/bff/callback`')
    for (const heading of ['Register', 'Configure', 'Peculiarities', 'Roles and groups', 'Signing out']) {
      expect(text).toContain(`\n## ${heading}\n`)
    }
  })

  test('names no address under /bff that is not one to register', () => {
    const known = registrations({ publicUrl: 'https://app.example.com', basePath: '/bff' }).map(({ uri }) => uri)
    const named = readPage(path).match(/https:\/\/app\.example\.com\/bff[\w/-]*/g) ?? []

    expect(named.filter((uri) => !known.includes(uri))).toEqual([])
  })
})
