import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { failureCodes } from '../../src/errors.ts'
import { escaped, type Page, Pages } from '../../src/http/pages.ts'
import { pageStyle } from '../../src/http/page-style.ts'
import { texts } from '../../src/http/texts.ts'

const config = {
  publicUrl: 'https://app.example',
  basePath: '/bff',
  headers: { csp: undefined, hsts: true, frameAncestors: "'none'" },
} as const
const pages = new Pages(config)

const facts = { code: 'internal', requestId: 'r-1', loginUrl: '/bff/login', retryUrl: undefined } as const
const every: [string, Page][] = [
  ['sign in', pages.signIn({ loginUrl: '/bff/login?returnTo=%2Fa' })],
  [
    'choose provider',
    pages.chooseProvider([{ name: 'corp', issuer: 'https://id.example', loginUrl: '/bff/login?provider=corp' }]),
  ],
  ['signed out', pages.signedOut()],
  ['signed in', pages.signedIn()],
  ...failureCodes.map((code): [string, Page] => [code, pages.failure({ ...facts, code, retryUrl: '/a' })]),
]

/** The sources that a directive of the page's policy allows. */
function allowed(page: Page, directive: string): string | undefined {
  const policy = page.headers['content-security-policy'] ?? ''
  return policy
    .split('; ')
    .find((one) => one.startsWith(`${directive} `))
    ?.slice(directive.length + 1)
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}

describe.each(every)('the page "%s"', (_, page) => {
  test('allows what stands in it by hash, and nothing else (CF-07)', () => {
    const style = /<style>([^]*?)<\/style>/.exec(page.html)?.[1] ?? ''
    const script = /<script>([^]*?)<\/script>/.exec(page.html)?.[1]
    expect(allowed(page, 'default-src')).toBe("'none'")
    expect(allowed(page, 'style-src')).toBe(hashOf(style))
    expect(allowed(page, 'script-src')).toBe(script === undefined ? undefined : hashOf(script))
    expect(allowed(page, 'frame-ancestors')).toBe("'none'")
    expect(allowed(page, 'base-uri')).toBe("'none'")
    expect(allowed(page, 'form-action')).toBe("'self'")
    expect(page.html.match(/<style/g)).toHaveLength(1)
  })

  test('loads nothing, carries no inline handler and names no product version (CB-10, CF-07)', () => {
    expect(page.html).not.toMatch(/\s(src|srcset|action|style|on\w+)=/i)
    expect(page.html).not.toMatch(/<(link|img|iframe|object|embed|base|form)\b|@import|url\(|http-equiv/i)
    expect(page.html).not.toMatch(/https?:\/\//)
    expect(page.html).not.toMatch(/\d+\.\d+\.\d+/)
  })

  test('has one heading, landmarks, a language and a title, and fits a phone', () => {
    expect(page.html.match(/<h1>/g)).toHaveLength(1)
    expect(page.html.match(/<main>/g)).toHaveLength(1)
    expect(page.html).toMatch(/<html lang="en">/)
    expect(page.html).toMatch(/<title>[^<]+ · app\.example<\/title>/)
    expect(page.html).toContain('<meta name="viewport" content="width=device-width, initial-scale=1">')
    expect(page.html).toContain('color-scheme: light dark')
  })

  test('is stored by nobody', () => {
    expect(page.headers['cache-control']).toBe('no-store')
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
  })

  test('links to our own origin only', () => {
    for (const [, href = ''] of page.html.matchAll(/href="([^"]*)"/g)) {
      expect(new URL(href.replaceAll('&amp;', '&'), 'https://app.example/bff/x').origin).toBe('https://app.example')
    }
  })
})

test('the sign-in page goes on by the visitor’s own click, to where the link came from (AR-09)', () => {
  const page = pages.signIn({ loginUrl: '/bff/login?returnTo=%2Fa&x="><script>alert(1)</script>' })
  expect(page.html).toContain(
    '<a class="button" href="/bff/login?returnTo=%2Fa&amp;x=&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;">',
  )
  expect(page.html).not.toContain('<script')
})

describe('the page of one’s sessions', () => {
  const now = Date.UTC(2026, 10, 22, 12)
  const other = { ref: 'b', device: 'Firefox on Windows', createdAt: now - 3 * 86_400_000, lastSeenAt: now - 7_200_000 }
  const mine = { ref: 'a', device: 'Chrome on Linux', createdAt: now - 60_000, lastSeenAt: now, isCurrent: true }
  const sessions = [mine, { ...other, isCurrent: false }]
  const page = pages.sessions({ sessions, action: '/bff/your-sessions', logoutUrl: '/bff/logout?t=x', now })

  test('tells when in words, since without script it does not know the time zone', () => {
    const text = page.html.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
    expect(text).toContain('Chrome on Linux this browser signed in 1 minute ago used just now')
    expect(text).toContain('Firefox on Windows signed in 3 days ago used 2 hours ago')
    expect(page.html).toContain('<time datetime="2026-11-19T12:00:00.000Z">3 days ago</time>')
  })

  test('ends this one by its own link and others by a form, each with a name for who does not see the line', () => {
    expect(page.html).toContain('href="/bff/logout?t=x" aria-label="Sign out: Chrome on Linux, signed in 1 minute ago"')
    expect(page.html).toContain('name="ref" value="b" aria-label="Sign out: Firefox on Windows, signed in 3 days ago"')
    expect(page.html).toContain('name="others" value="true">Sign out everywhere else</button>')
    expect(page.html).not.toContain('<script')
    expect(allowed(page, 'form-action')).toBe("'self'")
  })

  test('offers no end of others where there are none', () => {
    const alone = pages.sessions({ sessions: [mine], action: '/bff/your-sessions', logoutUrl: '/bff/logout?t=x', now })
    expect(alone.html).not.toContain('Sign out everywhere else')
    expect(alone.html).not.toContain('<form')
  })
})

test('the providers to choose from are named as configured, and nothing in a name leaves its place', () => {
  const { html } = pages.chooseProvider([
    { name: 'corp', issuer: 'https://id.example/realms/x', loginUrl: '/bff/login?returnTo=%2Fa&provider=corp' },
    { name: '"><b>', issuer: 'https://other.example', loginUrl: '/bff/login?provider=%22%3E%3Cb%3E' },
  ])
  expect(html).toContain(
    '<a class="choice" href="/bff/login?returnTo=%2Fa&amp;provider=corp"><span>Corp</span><small>id.example</small></a>',
  )
  expect(html).not.toContain('<b>')
})

test('a failure that can be tried again offers the address, and without one the start page', () => {
  expect(pages.failure({ ...facts, retryUrl: '/orders?a=1&b=2' }).html).toContain('href="/orders?a=1&amp;b=2"')
  expect(pages.failure(facts).html).toContain(`<a class="button" href="/">${texts.actions.home}</a>`)
})

test('the last page of a popup tells the other tabs and closes itself; only it has a script', () => {
  expect(pages.signedIn().html).toMatch(/<script>.*BroadcastChannel\('sidegate'\).*window\.close\(\)<\/script>/)
  expect(every.filter(([, page]) => page.html.includes('<script')).map(([name]) => name)).toEqual(['signed in'])
  const policies = every.map(([, page]) => page.headers['cross-origin-opener-policy'])
  expect(policies.filter((policy) => policy !== 'same-origin-allow-popups')).toEqual(['unsafe-none'])
})

test('a page is a fresh record: what one answer changes, the next does not see', () => {
  const first = pages.signedOut()
  first.headers['referrer-policy'] = 'changed'
  expect(pages.signedOut().headers['referrer-policy']).toBe('same-origin')
})

test('no value leaves its place in the page', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (requestId, retryUrl) => {
      const { html } = pages.failure({ ...facts, requestId, retryUrl: `/x${retryUrl}` })
      const skeleton = (text: string) => text.match(/<[a-z/!][^>]*>/gi)?.map((tag) => tag.split(/[\s>]/, 1)[0])
      expect(skeleton(html)).toEqual(skeleton(pages.failure({ ...facts, requestId: 'x', retryUrl: 'y' }).html))
    }),
  )
  expect(escaped(`<a href="x" title='y'>&`)).toBe('&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;')
})

describe('colours', () => {
  const [light = '', dark = ''] = [...pageStyle.matchAll(/:root \{([^}]*)\}/g)].map(([, body]) => body)

  function luminance(scheme: string, name: string): number {
    const hex = new RegExp(`--${name}: #([0-9a-f]{6});`).exec(scheme)?.[1] ?? expect.unreachable(`no colour ${name}`)
    const [r = 0, g = 0, b = 0] = [0, 2, 4].map((at) => {
      const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255
      return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }

  function contrast(scheme: string, one: string, other: string): number {
    const [low = 0, high = 0] = [luminance(scheme, one), luminance(scheme, other)].toSorted((a, b) => a - b)
    return (high + 0.05) / (low + 0.05)
  }

  test.each([
    ['light', light],
    ['dark', dark],
  ])('%s: texts stand out by 7 to 1, controls by 4.5 to 1 (WCAG 1.4.3, 1.4.6)', (_, scheme) => {
    expect(contrast(scheme, 'text', 'card')).toBeGreaterThan(7)
    expect(contrast(scheme, 'quiet', 'card')).toBeGreaterThan(7)
    expect(contrast(scheme, 'quiet', 'ground')).toBeGreaterThan(7)
    expect(contrast(scheme, 'on-accent', 'accent')).toBeGreaterThan(4.5)
    expect(contrast(scheme, 'on-accent', 'accent-over')).toBeGreaterThan(4.5)
    expect(contrast(scheme, 'accent', 'card')).toBeGreaterThan(4.5)
    expect(contrast(scheme, 'mark', 'mark-ground')).toBeGreaterThan(4.5)
  })
})
