/** The single source of the configuration: types, defaults, messages, `config/schema.json`, `docs/configuration.md`. */
import type { z } from 'zod'
import { checkProviders } from './provider-rules.ts'
import { checkRoutes } from './route-rules.ts'
import { checkGateway } from './rules.ts'
import { checkStore } from './store-rules.ts'
import { ConfigShape } from './shape.ts'
import type { ConfigPath } from './problem.ts'

export type { ProviderConfig } from './provider-shape.ts'
export type { RouteConfig, TokenRule } from './route-shape.ts'
export type { RedisConfig } from './store-shape.ts'

/** The whole configuration: each key by itself (the files of shapes) and what the keys mean to each other (the files of rules). */
export const Config = ConfigShape.check((ctx) => {
  // A value with a fault of its own arrives before its defaults are filled in: rules judge whole values only.
  if (ctx.issues.length > 0) return
  const report = (path: ConfigPath, message: string) => {
    // `input` would be the value that zod shows: there is none to show.
    ctx.issues.push({ code: 'custom', message, path: [...path], input: '' })
  }
  checkGateway(ctx.value, report)
  checkProviders(ctx.value, report)
  checkRoutes(ctx.value, report)
  checkStore(ctx.value, report)
})

export type Config = z.output<typeof Config>
