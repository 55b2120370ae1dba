/**
 * A hostile page of the demo, served from another port of `localhost`: another origin of the same site, so that the
 * browser sends even a `SameSite=Strict` cookie with what it forges (cookies ignore ports).
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

const FETCH_TIMEOUT_MS = 2_000

const SCRIPT = `
const target = new URLSearchParams(location.search).get('target') ?? ''
const outcome = () => fetch('/attack/outcome').then((response) => response.json())
async function forge() {
  const before = await outcome()
  let read = 'nothing'
  try {
    const response = await fetch(target + '/api/forged', { method: 'POST', mode: 'no-cors', credentials: 'include', body: 'amount=1000000' })
    const text = await response.text()
    if (text !== '') read = text
  } catch {
    // The browser does not even show that there was an answer.
  }
  const after = await outcome()
  parent.postMessage({ forgery: { read, arrived: after.arrived - before.arrived, refused: after.refused - before.refused } }, target)
}
if (/^http:\\/\\/localhost:\\d+$/.test(target)) forge()
`

const HTML = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A hostile page</title></head>
<body><p>This page belongs to somebody else. It sends a request in your name.</p><script>${SCRIPT}</script></body></html>
`

const CSP = `default-src 'none'; script-src 'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'; connect-src 'self' http://localhost:*`

export interface AttackFacts {
  readonly metricsUrl: string | undefined
  /** How many forged calls have come through to the API. */
  readonly forgeries: number
}

/** Serves the page at `/attack`, and at `/attack/outcome` what became of its attempts so far. */
export async function answerAttack(
  request: IncomingMessage,
  response: ServerResponse,
  facts: AttackFacts,
): Promise<void> {
  if (request.url === '/attack/outcome') {
    const refused = facts.metricsUrl ? await countRefusals(facts.metricsUrl) : 0
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    response.end(JSON.stringify({ arrived: facts.forgeries, refused }))
    return
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': CSP })
  response.end(HTML)
}

/** The sum of `sidegate_csrf_rejections_total` over all reasons, from the gateway's own metrics. */
async function countRefusals(metricsUrl: string): Promise<number> {
  const response = await fetch(metricsUrl, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) })
  const samples = (await response.text()).matchAll(/^sidegate_csrf_rejections_total(?:\{.*\})? (\d+)$/gm)
  return [...samples].reduce((sum, [, value]) => sum + Number(value), 0)
}
