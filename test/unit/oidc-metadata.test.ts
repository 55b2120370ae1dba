import { describe, expect, test } from 'vitest'
import { checkMetadata, metadataUrls } from '../../src/oidc/metadata.ts'
import { providerConfig } from '../support/oidc-client.ts'

const ISSUER = 'https://id.example.com/realms/acme'
const good = {
  issuer: ISSUER,
  authorization_endpoint: `${ISSUER}/authorize`,
  token_endpoint: `${ISSUER}/token`,
  jwks_uri: `${ISSUER}/jwks`,
}

test.each([
  [
    'https://id.example.com',
    'https://id.example.com/.well-known/openid-configuration',
    'https://id.example.com/.well-known/oauth-authorization-server',
  ],
  [
    'https://id.example.com/',
    'https://id.example.com/.well-known/openid-configuration',
    'https://id.example.com/.well-known/oauth-authorization-server',
  ],
  [
    ISSUER,
    `${ISSUER}/.well-known/openid-configuration`,
    'https://id.example.com/.well-known/oauth-authorization-server/realms/acme',
  ],
  [
    `${ISSUER}/`,
    `${ISSUER}/.well-known/openid-configuration`,
    'https://id.example.com/.well-known/oauth-authorization-server/realms/acme',
  ],
])('%s is looked for at the OpenID address and then at that of RFC 8414 (AS-01)', (issuer, oidc, oauth) => {
  expect(metadataUrls({ issuer })).toEqual([oidc, oauth])
})

test('a configured metadataUrl is the only address', () => {
  const metadataUrl = 'https://id.example.com/metadata?client_id=shop'
  expect(metadataUrls({ issuer: ISSUER, metadataUrl })).toEqual([metadataUrl])
})

describe('the issuer is compared character by character (AS-02)', () => {
  test.each([
    `${ISSUER}/`,
    'https://ID.example.com/realms/acme',
    'https://id.example.com:443/realms/acme',
    'https://id.example.com/realms/%61cme',
    'https://evil.example/realms/acme',
    undefined,
    7,
  ])('%s is another one', (issuer) => {
    expect(() => checkMetadata({ ...good, issuer }, providerConfig(ISSUER))).toThrow(
      expect.objectContaining({ code: 'provider_unavailable' }),
    )
  })

  test('a slash more or less is named as the reason', () => {
    expect(() => checkMetadata({ ...good, issuer: `${ISSUER}/` }, providerConfig(ISSUER))).toThrow(
      /the slash at the end matters/,
    )
    expect(() => checkMetadata(good, providerConfig(`${ISSUER}/`))).toThrow(/the slash at the end matters/)
  })

  test('an issuer that ends in a slash is taken where it is configured so', () => {
    expect(checkMetadata({ ...good, issuer: `${ISSUER}/` }, providerConfig(`${ISSUER}/`)).issuer).toBe(`${ISSUER}/`)
  })
})

describe('endpoints (AS-03)', () => {
  test.each([
    ['token_endpoint', undefined],
    ['authorization_endpoint', 'nowhere'],
    ['jwks_uri', 'http://id.example.com/jwks'],
    ['token_endpoint', 'ftp://id.example.com/token'],
    ['userinfo_endpoint', 'http://id.example.com/userinfo'],
    ['end_session_endpoint', 'javascript:alert(1)'],
    ['pushed_authorization_request_endpoint', 'http://id.example.com/par'],
    ['revocation_endpoint', 'https://user:secret@id.example.com/revoke'],
    ['mtls_endpoint_aliases', { token_endpoint: 'http://mtls.example.com/token' }],
  ])('%s of %o makes the document unusable', (name, value) => {
    expect(() => checkMetadata({ ...good, [name]: value }, providerConfig(ISSUER))).toThrow(
      expect.objectContaining({ code: 'provider_unavailable' }),
    )
  })

  test('http goes no further than to the issuer, or this machine', () => {
    const issuer = 'http://localhost:9000'
    const at = (origin: string) => ({
      issuer,
      authorization_endpoint: `${origin}/a`,
      token_endpoint: `${origin}/t`,
      jwks_uri: `${origin}/j`,
    })
    expect(checkMetadata(at('http://127.0.0.1:9001'), providerConfig(issuer))).toBeDefined()
    expect(() => checkMetadata(at('http://evil.example'), providerConfig(issuer))).toThrow(/not https/)
  })

  test('http is for an issuer on loopback alone', () => {
    const issuer = 'http://127.0.0.1:9000'
    const document = { ...good, issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` }
    expect(checkMetadata(document, providerConfig(issuer)).token_endpoint).toBe(`${issuer}/token`)
  })
})

test('a provider that does not list our authentication method is not used (TK-02)', () => {
  const listed = { ...good, token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'] }
  expect(() => checkMetadata(listed, providerConfig(ISSUER))).toThrow(/client_secret_basic/)
  expect(checkMetadata(listed, providerConfig(ISSUER, { clientAuthentication: 'client_secret_post' }))).toBe(listed)
})

describe("Entra's issuer with a tenant in it", () => {
  const issuer = 'https://login.microsoftonline.com/common/v2.0'
  const document = { ...good, issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0' }

  test('is taken with a list of tenants only (AS-02)', () => {
    expect(checkMetadata(document, providerConfig(issuer, { allowedTenants: ['t-1'] }))).toBe(document)
    expect(() => checkMetadata(document, providerConfig(issuer))).toThrow(/issuer/)
    expect(() => checkMetadata(document, providerConfig(issuer, { allowedTenants: [] }))).toThrow(/issuer/)
  })

  test('stands for one part of the path and no more (AS-02)', () => {
    const config = providerConfig(issuer, { allowedTenants: ['t-1'] })
    for (const found of ['https://{tenantid}/v2.0', '{tenantid}', 'https://evil.example/{tenantid}/v2.0']) {
      expect(() => checkMetadata({ ...document, issuer: found }, config)).toThrow(/issuer/)
    }
  })
})

test('FAPI 2.0 needs iss in responses and pushed requests (F2-02, F2-03)', () => {
  const config = providerConfig(ISSUER, { profile: 'fapi2' })
  const ready = {
    ...good,
    authorization_response_iss_parameter_supported: true,
    pushed_authorization_request_endpoint: `${ISSUER}/par`,
  }
  expect(checkMetadata(ready, config)).toBe(ready)
  expect(() => checkMetadata({ ...ready, authorization_response_iss_parameter_supported: false }, config)).toThrow(
    /iss_parameter/,
  )
  expect(() => checkMetadata({ ...ready, pushed_authorization_request_endpoint: undefined }, config)).toThrow(/pushed/)
})
