import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { configurationOf } from '../../src/commands/init.ts'
import { presets } from '../../src/commands/presets.ts'

const answers = { publicUrl: 'https://app.example.com', clientId: 'shop', api: 'http://orders:3000' }

test.each(Object.entries(presets))(
  'the configuration for %s is fine as soon as the secret is there',
  (_name, preset) => {
    const yaml = configurationOf(preset, { ...answers, issuer: preset.issuer })

    const { config } = parseConfig(yaml, 'sidegate.yaml', { env: { CLIENT_SECRET: 'secret' } })

    expect(config.provider).toMatchObject({
      issuer: preset.issuer,
      clientId: 'shop',
      clientSecret: 'secret',
      scopes: preset.scopes,
    })
  },
)

test.each(['true', '1234', 'a: b', '${HOME}', '#', '"', "it's", '$', '- x', '{a}', 'é'])(
  'the client id %j comes out as it went in',
  (clientId) => {
    const generic = presets['generic']
    if (!generic) throw new Error('there is no generic preset')
    const yaml = configurationOf(generic, { ...answers, clientId, issuer: generic.issuer })

    const { config } = parseConfig(yaml, 'sidegate.yaml', { env: { CLIENT_SECRET: 'secret', HOME: '/root' } })

    expect(config.provider?.clientId).toBe(clientId)
  },
)
