/** Guards of what a deployment may have besides: signed responses, introspection, front-channel logout. */
import type { GuardRemoval } from './removal.ts'

const SIGNED = 'test/integration/oidc-sender-constrained.test.ts'
const KEYS_OF_RESPONSE = [
  '  const keys = isJwt ? await keysOfResponse(connection, metadata, response) : undefined',
  '  return ({ configuration, dpop }) => {',
  '    if (keys) {',
  '      useJwtResponseMode(configuration)',
  '      setJwksCache(configuration, keys)',
  '    }',
].join('\n')

export const extraRemovals: readonly GuardRemoval[] = [
  {
    id: 'CB-11',
    without: 'believes what stands in a signed response without a look at the signature',
    file: 'src/oidc/code-grant.ts',
    text: KEYS_OF_RESPONSE,
    replacement: [
      "  const inside = Buffer.from((response.get('response') ?? '').split('.')[1] ?? '', 'base64url').toString()",
      '  if (isJwt) url.search = new URLSearchParams(JSON.parse(inside)).toString()',
      '  return ({ configuration, dpop }) => {',
    ].join('\n'),
    tests: [SIGNED],
  },
  {
    id: 'F2-10',
    without: 'takes a signed response for none at all',
    file: 'src/oidc/code-grant.ts',
    text: KEYS_OF_RESPONSE,
    replacement: '  return ({ configuration, dpop }) => {',
    tests: [SIGNED],
  },
  {
    id: 'RF-09',
    without: 'takes a token of which the issuer says that it is not active',
    file: 'src/oidc/access-token.ts',
    text: "if (claims['active'] !== true) throw",
    replacement: "if (claims['active'] === undefined) throw",
    tests: ['test/unit/oidc-access-token.test.ts'],
  },
  {
    id: 'LO-13',
    without: 'ends sessions by a front-channel logout that does not say whose it is',
    file: 'src/routes/provider-logout.ts',
    text: "    if (isKnown && issuer !== undefined && sid) {\n      await options.manager.endByProviderSession(issuer, sid, 'frontchannel_logout')",
    replacement:
      "    if (sid) {\n      const whose = issuer ?? [...options.providers.values()][0]?.issuer ?? ''\n      await options.manager.endByProviderSession(whose, sid, 'frontchannel_logout')",
    tests: ['test/integration/endpoints.test.ts'],
  },
  {
    id: 'LO-14',
    without: 'stumbles over session_state in an answer',
    file: 'src/oidc/code-grant.ts',
    text: "const NEVER = ['id_token',",
    replacement: "const NEVER = ['session_state', 'id_token',",
    tests: ['test/integration/oidc-callback.test.ts'],
  },
]
