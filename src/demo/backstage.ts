/**
 * What the demo tells about itself, under `/backstage`: where its other pages are, what went over the wires, and what
 * becomes of a cookie that somebody made up. Without a session, and with nothing in it that is secret.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Journal } from './journal.ts'

const FETCH_TIMEOUT_MS = 2_000

export interface BackstageOptions {
  readonly journal: Pick<Journal, 'lastLogin' | 'refreshes'>
  /** The gateway as a browser sees it. */
  readonly gateway: URL
  readonly sessionCookieName: string
  /** The authorization server's own page on which a user signs out of everything. */
  readonly signOutUrl: string
}

/** Answers the paths under `/backstage`; resolves `false` when it is another one. */
export async function answerBackstage(
  request: IncomingMessage,
  response: ServerResponse,
  options: BackstageOptions & { readonly attackerUrl: string },
): Promise<boolean> {
  switch (`${request.method} ${request.url}`) {
    case 'GET /backstage/places':
      send(response, { attacker: options.attackerUrl, signOut: options.signOutUrl })
      return true
    case 'GET /backstage/journal':
      send(response, { login: options.journal.lastLogin(), refreshes: options.journal.refreshes })
      return true
    case 'POST /backstage/made-up-cookie':
      send(response, await tryMadeUpCookie(options))
      return true
    default:
      return false
  }
}

/** A program that is no browser may send any cookie it likes: one of the right shape, with other random bytes. */
async function tryMadeUpCookie({ gateway, sessionCookieName }: BackstageOptions): Promise<object> {
  const cookie = `${sessionCookieName}=${randomBytes(32).toString('base64url')}`
  const answer = await fetch(new URL('/api/orders', gateway), {
    headers: { cookie, 'x-csrf': '1' },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  })
  await answer.body?.cancel()
  return { status: answer.status, code: answer.headers.get('sidegate-error') }
}

function send(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}
