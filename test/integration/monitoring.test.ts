/** deploy/grafana and deploy/prometheus name only what a running gateway has, in expressions that Prometheus reads. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parser } from '@prometheus-io/lezer-promql'
import { beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { parse } from 'yaml'
import { endReasons } from '../../src/session/session.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { startRedis } from '../support/redis.ts'
import { startWorld, until } from '../support/world.ts'

const root = new URL('../..', import.meta.url).pathname
/** Given by the scrape, not by the process. */
const SCRAPE_LABELS = ['job', 'instance']

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string }
}

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}

interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] }
}

// Files of this repository; the tests below judge what is in them.
const dashboard = JSON.parse(readFileSync(join(root, 'deploy/grafana/sidegate.json'), 'utf8')) as Dashboard
const file = parse(readFileSync(join(root, 'deploy/prometheus/rules.yaml'), 'utf8')) as {
  groups: { name: string; rules: Rule[] }[]
}
const rules = file.groups.flatMap((group) => group.rules)
const variables = dashboard.templating.list.map(({ name }) => name)

const panelExpressions = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => [`panel ${title}`, expr] as const),
)
const variableExpressions = dashboard.templating.list.flatMap(({ name, definition }) => {
  const inner = /^label_values\((.+), \w+\)$/.exec(definition ?? '')?.[1]
  return inner === undefined ? [] : [[`variable ${name}`, inner] as const]
})
const expressions = [
  ...panelExpressions,
  ...variableExpressions,
  ...rules.map(({ alert, expr }) => [`alert ${alert}`, expr] as const),
]

/** What the dashboard's variables stand for. */
function filledIn(expr: string): string {
  return expr
    .replaceAll('$__rate_interval', '5m')
    .replaceAll('"$job"', '"sidegate"')
    .replaceAll(/"\$(instance|route)"/g, '".*"')
}

interface Matcher {
  readonly label: string
  readonly operator: string
  readonly value: string
}

interface Parsed {
  readonly errors: number
  readonly selectors: { readonly metric: string; readonly matchers: readonly Matcher[] }[]
  readonly grouping: string[]
}

/** By the grammar of Prometheus' own editor. */
function parsed(expr: string): Parsed {
  const found: Parsed & { errors: number } = { errors: 0, selectors: [], grouping: [] }
  const text = (node: { from: number; to: number }): string => expr.slice(node.from, node.to)
  parser.parse(expr).iterate({
    enter: ({ node, type }) => {
      if (type.isError) found.errors += 1
      if (type.name === 'VectorSelector') {
        const matchers = node
          .getChildren('LabelMatchers')
          .flatMap((list) => list.getChildren('UnquotedLabelMatcher'))
          .map((matcher) => ({
            label: text(matcher.getChild('LabelName') ?? matcher),
            operator: text(matcher.getChild('MatchOp') ?? matcher),
            value: text(matcher.getChild('StringLiteral') ?? matcher).slice(1, -1),
          }))
        found.selectors.push({ metric: text(node.getChild('Identifier') ?? node), matchers })
      }
      if (type.name === 'GroupingLabels')
        found.grouping.push(...node.getChildren('LabelName').map((label) => text(label)))
    },
  })
  return found
}

/** Every sample of a real run: its name, and the labels it had with their values. */
const samples = new Map<string, Map<string, Set<string>>>()
const types = new Set<string>()

beforeAll(async () => {
  for (const line of (await metricsOfARun()).split('\n')) {
    const type = /^# TYPE (\S+) (\S+)/.exec(line)
    if (type?.[2] === 'histogram') for (const end of ['_bucket', '_sum', '_count']) types.add(`${type[1]}${end}`)
    else if (type?.[1]) types.add(type[1])
    const [, name, labels = ''] = /^([a-z]\w*)(?:\{(.*)\})? /.exec(line) ?? []
    if (name === undefined) continue
    const known = samples.get(name) ?? new Map<string, Set<string>>()
    samples.set(name, known)
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      known.set(label, (known.get(label) ?? new Set()).add(value))
    }
  }
}, 60_000)

/** A gateway to which everything happens that is worth a metric. */
async function metricsOfARun(): Promise<string> {
  await using redis = await startRedis()
  await using authority = await createAuthority()
  const { cert, key } = await authority.issue('client')
  await using world = await startWorld({
    config: ({ upstream }) => ({
      store: { redis: { url: redis.url } },
      session: { keys: ['A'.repeat(43)] },
      routes: [
        { path: '/api', upstream },
        // Nobody goes there: its certificate has an end all the same.
        { path: '/secure', upstream: 'https://127.0.0.1:1', tls: { cert, key } },
        { path: '/', upstream, session: 'none' },
      ],
    }),
  })
  const { browser, tab } = await world.signedIn()
  // The cache answers once this instance hears of what others do.
  await until(async () => {
    await tab.fetch('/api/orders')
    return (await world.metric('sidegate_session_cache_total{outcome="hit"}')) > 0
  })
  const cookie = browser.jar
    .all()
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ')
  await fetch(`${world.url}/api/orders`, { headers: { cookie, 'sec-fetch-site': 'cross-site' } })
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/api/live`, {
    headers: { cookie, origin: world.url },
  })
  await once(socket, 'open')
  await tab.navigate(`${world.url}/bff/callback?state=x&code=y`)
  await tab.fetch('/bff/session')
  await fetch(`${world.url}/bff/backchannel-logout`, {
    method: 'POST',
    body: new URLSearchParams({ logout_token: 'x' }),
  })

  world.provider.breakDown('/token', 503)
  world.clock.advance(290_000)
  await tab.fetch('/api/orders')
  world.provider.breakDown('/token', undefined)
  world.clock.advance(60_000)
  await tab.fetch('/api/orders')
  await world.upstream.close()
  await tab.fetch('/api/orders')
  world.provider.revokeTokens('alice')
  await tab.fetch('/bff/session/refresh', { method: 'POST' })
  await until(async () => (await world.metric('sidegate_sessions_ended_total{reason="refresh_rejected"}')) === 1)
  await redis.kill()
  await tab.fetch('/api/orders')
  return await (await fetch(`${world.gateway.managementUrl}/metrics`)).text()
}

describe.each(expressions)('%s', (_name, expr) => {
  const { errors, selectors, grouping } = parsed(filledIn(expr))

  test('is PromQL', () => {
    expect(errors).toBe(0)
    expect(selectors).not.toEqual([])
    expect(filledIn(expr)).not.toContain('$')
  })

  test('names metrics, labels and values that a real gateway has', () => {
    for (const { metric, matchers } of selectors) {
      if (metric === 'up') continue
      expect(types).toContain(metric)
      for (const { label, operator, value } of matchers.filter((one) => !SCRAPE_LABELS.includes(one.label))) {
        const values = [...(samples.get(metric)?.get(label) ?? [])]
        const isThere = {
          '=': (one: string) => one === value,
          '!=': (one: string) => one !== value,
          '=~': (one: string) => new RegExp(`^(?:${value})$`).test(one),
          '!~': (one: string) => !new RegExp(`^(?:${value})$`).test(one),
        }[operator]
        expect(isThere && values.some(isThere), `${metric}{${label}${operator}${value}} of ${values.join()}`).toBe(true)
      }
    }
    const known = selectors.flatMap(({ metric }) => [...(samples.get(metric)?.keys() ?? [])])
    for (const label of grouping) expect([...known, ...SCRAPE_LABELS]).toContain(label)
  })
})

test('every metric of our own is on the dashboard', () => {
  const named = panelExpressions.flatMap(([, expr]) => parsed(filledIn(expr)).selectors.map(({ metric }) => metric))
  const own = [...types].filter((name) => name.startsWith('sidegate_') && !/_(sum|count)$/.test(name))

  expect(own.filter((name) => !named.includes(name))).toEqual([])
})

/** Contract: each metric with its labels and all values that they can have; `*` is what the configuration names. */
const METRICS: Readonly<Record<string, Readonly<Record<string, readonly string[] | '*'>>>> = {
  sidegate_requests_total: { route: '*', method: '*', status: '*' },
  sidegate_request_duration_seconds: { route: '*' },
  sidegate_upstream_duration_seconds: { route: '*' },
  sidegate_logins_total: { outcome: ['succeeded', 'failed', 'unavailable'] },
  sidegate_refreshes_total: { outcome: ['refreshed', 'joined', 'rejected', 'unavailable'] },
  sidegate_sessions_started_total: {},
  sidegate_sessions_ended_total: { reason: endReasons },
  sidegate_csrf_rejections_total: { reason: '*' },
  sidegate_store_duration_seconds: { operation: '*' },
  sidegate_store_errors_total: {},
  sidegate_session_cache_total: { outcome: ['hit', 'miss', 'bypass', 'grace'] },
  sidegate_provider_duration_seconds: {
    endpoint: ['metadata', 'jwks', 'token', 'par', 'userinfo', 'revocation', 'introspection'],
  },
  sidegate_open_streams: { kind: ['websocket', 'events'] },
  sidegate_provider_up: { provider: '*' },
  sidegate_certificate_expiry_timestamp_seconds: { setting: '*' },
  sidegate_config_reloads_total: { outcome: ['taken', 'refused'] },
}

test('every metric of our own has exactly its labels, and values from its list only', () => {
  const own = [...samples].filter(([name]) => name.startsWith('sidegate_'))
  const seen = new Set<string>()
  for (const [name, labels] of own) {
    const metric = name in METRICS ? name : name.replace(/_(bucket|sum|count)$/, '')
    seen.add(metric)
    const names = [...labels.keys()].filter((label) => label !== 'le' || !name.endsWith('_bucket'))
    expect([name, names.toSorted((a, b) => a.localeCompare(b))]).toEqual([
      name,
      Object.keys(METRICS[metric] ?? {}).toSorted((a, b) => a.localeCompare(b)),
    ])
    for (const [label, values] of Object.entries(METRICS[metric] ?? {})) {
      if (values !== '*') expect(values).toEqual(expect.arrayContaining([...(labels.get(label) ?? [])]))
    }
  }
  expect([...seen].toSorted((a, b) => a.localeCompare(b))).toEqual(
    Object.keys(METRICS).toSorted((a, b) => a.localeCompare(b)),
  )
})

test('the dashboard uses no variable that it does not have, and its panels do not overlap', () => {
  const used = JSON.stringify(dashboard).matchAll(/\$(?:\{(\w+)\}|(\w+))/g)
  const names = [...used].map(([, one, other]) => one ?? other ?? '').filter((name) => !name.startsWith('__'))
  expect([...new Set(names)].filter((name) => !variables.includes(name))).toEqual([])

  const taken = new Set<string>()
  for (const { gridPos, title } of dashboard.panels) {
    expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        expect(taken.has(`${x} ${y}`), title).toBe(false)
        taken.add(`${x} ${y}`)
      }
    }
  }
  expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
})

test('every legend names a label that its expression keeps', () => {
  for (const { targets = [] } of dashboard.panels) {
    for (const { expr, legendFormat } of targets) {
      const { grouping } = parsed(filledIn(expr))
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        expect(grouping.length > 0 ? grouping : SCRAPE_LABELS, expr).toContain(label)
      }
    }
  }
})

test('every alert has a name of its own, a severity, and words for whoever it wakes', () => {
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
  for (const rule of rules) {
    expect(rule.for).toMatch(/^\d+m$/)
    expect(['critical', 'warning']).toContain(rule.labels.severity)
    expect(rule.annotations.summary.length).toBeGreaterThan(10)
    expect(rule.annotations.description.length).toBeGreaterThan(20)
    const { grouping, selectors } = parsed(rule.expr)
    for (const [, label = ''] of JSON.stringify(rule.annotations).matchAll(/\$labels\.(\w+)/g)) {
      expect(grouping.length > 0 ? grouping : SCRAPE_LABELS, rule.alert).toContain(label)
    }
    expect(selectors.length).toBeGreaterThan(0)
  }
})
