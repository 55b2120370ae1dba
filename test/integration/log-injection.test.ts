/** What clients, users and authorization servers write is in the log as data: one JSON object a line, short and visible. */
import { expect, onTestFinished, test } from 'vitest'
import { get, RawClient } from '../support/raw-client.ts'
import { startWorld } from '../support/world.ts'

const HOSTILE = [
  'a\u001b[2Jb',
  '\u00e2\u0080\u00a8{"level":"error"}',
  '"},{"event":"login.succeeded"',
  '\u00ff\u00fe\u00c0\u00af',
  '\u0080\u0085\u009f',
  'x'.repeat(10_000),
  '%0d%0a%1b[31m%e2%80%a8%00',
  '${jndi:ldap://x.example/a}',
]

test('no header, path, query, cookie, return address or error of a provider breaks a line of the log, or fills it (R69)', async () => {
  const world = await startWorld({
    config: ({ upstream }) => ({ routes: [{ path: '/', upstream, session: 'optional' }] }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const port = Number(new URL(world.gateway.address).port)
  const navigation = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Sec-Fetch-Site: same-origin']
  const names = ['User-Agent', 'Referer', 'Origin', 'X-Forwarded-For', 'Forwarded', 'Accept', 'Content-Type', 'Via']
  const more = [
    'traceparent',
    'tracestate',
    'Sec-Fetch-Site',
    'Sec-Fetch-Mode',
    'X-CSRF',
    'X-Request-Id',
    'Authorization',
  ]
  const requests = HOSTILE.flatMap((text) => {
    const encoded = encodeURIComponent(text)
    return [
      ...[...names, ...more].map((name) => get('/x', `${name}: ${text}`)),
      get('/x', `Cookie: __Host-Http-sidegate=${text}; __Secure-sidegate-tx-${text}=${text}; ${text}=1`),
      get('/x').replace('Host: app.example', `Host: ${text}`),
      get(`/${encoded}`),
      get(`/${text.slice(0, 9_000)}`),
      get(`/x?${text.slice(0, 9_000)}`),
      get(`/bff/login?returnTo=${encoded}&prompt=${encoded}`, ...navigation),
      get(`/bff/callback?error=${encoded}&error_description=${encoded}&state=${encoded}`, ...navigation),
      get(`/bff/callback?code=${encoded}&state=${encoded}&iss=${encoded}`, ...navigation),
      get(`/bff/logout?t=${encoded}`, ...navigation),
      `POST /bff/backchannel-logout HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${13 + encoded.length}\r\n\r\nlogout_token=${encoded}`,
      `${text.slice(0, 100)} /x HTTP/1.1\r\nHost: a\r\n\r\n`,
    ]
  })

  for (const request of requests) {
    using client = await RawClient.connect(port)
    await client.send(request).read(1)
  }

  // Every line is an object of JSON: `lines` reads them so.
  const lines = world.log.lines()
  expect(lines.length).toBeGreaterThan(requests.length / 2)
  expect(world.log.text).not.toMatch(/[^\n\x20-\x7e\u00a0-\uffff]|\u2028|\u2029/)
  for (const line of lines) {
    expect(line).not.toHaveProperty('event', 'login.succeeded')
    // Stacks are ours and several lines long.
    for (const [name, value] of Object.entries(line)) {
      if (name !== 'err') expect(JSON.stringify(value).length, `${name}: ${JSON.stringify(value)}`).toBeLessThan(600)
    }
  }
}, 30_000)
