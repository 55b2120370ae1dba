import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Findings } from '../../src/commands/doctor/finding.ts'
import { examineQuirks, recognise } from '../../src/commands/doctor/quirks.ts'
import { configurationOf } from '../../src/commands/init.ts'
import { presets } from '../../src/commands/presets.ts'
import { parseConfig } from '../../src/config/load.ts'

type Tree = Record<string, unknown>

const ENTRA = 'https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000'

function quirksOf(provider: Tree, route: Tree = {}): Findings['list'] {
  const yaml = stringify({
    publicUrl: 'https://app.example.com',
    provider: { clientId: 'shop', clientSecret: 'secret', ...provider },
    routes: [{ path: '/api', upstream: 'http://orders:3000', ...route }],
  })
  const { config } = parseConfig(yaml, 'sidegate.yaml', { env: {} })
  const findings = new Findings('provider')
  if (config.provider) examineQuirks(config, config.provider, findings)
  return findings.list
}

/** Does to a configuration what a remedy says: adds or removes a scope, writes keys of the provider or the route. */
function followed(remedy: string, provider: Tree, route: Tree): [Tree, Tree] {
  // As the table has it, or the default.
  let scopes = (provider['scopes'] ?? ['openid']) as string[]
  if (remedy.includes('remove offline_access from scopes'))
    scopes = scopes.filter((scope) => scope !== 'offline_access')
  const [, added] = /add (?:a scope such as )?(\S+) to scopes/.exec(remedy) ?? []
  if (added !== undefined) scopes = [...scopes, added]
  const [, forRoute] = /write (token: none) for routes/.exec(remedy) ?? []
  const [, forProvider] = forRoute === undefined ? (/write ([a-zA-Z]+: (?:\{.*\}|\S+))/.exec(remedy) ?? []) : []
  // Remedies print mappings, with … where the operator knows better.
  const written = (yaml = '{}') =>
    parse(yaml.replace('…', 'https://orders.example.com').replace('TENANT-ID', 'acme')) as Tree
  return [
    { ...provider, scopes, ...written(forProvider) },
    { ...route, ...written(forRoute) },
  ]
}

test.each<[title: string, provider: Tree, finding: RegExp]>([
  [
    'Keycloak with offline_access',
    { issuer: 'https://id.example.com/realms/acme', scopes: ['openid', 'offline_access'] },
    /offline session, which outlives a logout/,
  ],
  ['Entra ID of version 1', { issuer: 'https://sts.windows.net/acme/' }, /version 1/],
  ['Entra ID without /v2.0', { issuer: ENTRA }, /ends with \/v2\.0/],
  ['Entra ID without a scope of the API', { issuer: `${ENTRA}/v2.0` }, /for Microsoft Graph/],
  ['Entra ID without offline_access', { issuer: `${ENTRA}/v2.0` }, /only for offline_access/],
  ['Auth0 without its slash', { issuer: 'https://acme.eu.auth0.com' }, /ends with a slash/],
  ['Auth0 without an audience', { issuer: 'https://acme.eu.auth0.com/' }, /opaque and for \/userinfo only/],
  ['the org server of Okta', { issuer: 'https://acme.okta.com' }, /for Okta itself/],
  [
    'Cognito with the common logout',
    { issuer: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC' },
    /parameters of its own/,
  ],
  [
    'Cognito with offline_access',
    { issuer: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC', scopes: ['openid', 'offline_access'] },
    /refuses the scope/,
  ],
  [
    'Google with offline_access',
    { issuer: 'https://accounts.google.com', scopes: ['openid', 'offline_access'] },
    /refuses the scope/,
  ],
  ['Google without offline access', { issuer: 'https://accounts.google.com' }, /only for access_type: offline/],
  ['Google with the common logout', { issuer: 'https://accounts.google.com' }, /has no logout/],
  [
    "Google's token for an API of one's own",
    { issuer: 'https://accounts.google.com' },
    /opaque and for Google's APIs only/,
  ],
  ['Zitadel without the project', { issuer: 'https://acme-abc123.zitadel.cloud' }, /is not for it, and it is opaque/],
  ['Zitadel without offline_access', { issuer: 'https://acme-abc123.zitadel.cloud' }, /only for offline_access/],
  ['authentik without its slash', { issuer: 'https://id.example.com/application/o/shop' }, /ends with a slash/],
  [
    'authentik without offline_access',
    { issuer: 'https://id.example.com/application/o/shop/' },
    /only for offline_access/,
  ],
])('%s is told, and not once its remedy is followed', (_title, provider, finding) => {
  const found = quirksOf(provider).filter(({ message }) => finding.test(message))
  expect(found).toHaveLength(1)

  const [mended, route] = followed(found[0]?.remedy ?? '', provider, {})
  expect(quirksOf(mended, route).filter(({ message }) => finding.test(message))).toEqual([])
})

test('each of the eight known servers is recognised by the issuer of its preset, and the preset heeds its peculiarities', () => {
  const known = Object.entries(presets).filter(([name]) => name !== 'generic')
  expect(known.map(([, { issuer }]) => recognise(issuer))).toEqual([
    'Keycloak',
    'Entra ID',
    'Auth0',
    'Okta',
    'Cognito',
    'Google',
    'Zitadel',
    'authentik',
  ])
  for (const [name, preset] of known) {
    const answers = { publicUrl: 'https://app.example.com', clientId: 'shop', api: 'http://orders:3000' }
    const yaml = configurationOf(preset, { ...answers, issuer: preset.issuer })
    const { config } = parseConfig(yaml, 'sidegate.yaml', { env: { CLIENT_SECRET: 'secret' } })
    const findings = new Findings('provider')
    if (config.provider) examineQuirks(config, config.provider, findings)
    expect([name, findings.list]).toEqual([name, [expect.objectContaining({ status: 'ok' })]])
  }
})

test('a server that is not known has no peculiarities', () => {
  expect(quirksOf({ issuer: 'https://id.example.com' })).toEqual([])
})
