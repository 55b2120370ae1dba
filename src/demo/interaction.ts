import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InteractionDetails, Provider } from 'oidc-provider'
import { expiredPage, signInPage } from './sign-in-page.ts'
import type { Page } from './sign-in-page.ts'
import { ACR } from './users.ts'
import type { DemoUser } from './users.ts'

const BODY_LIMIT = 4_096

/**
 * The sign-in page under `/interaction/`: shows the users on GET, signs the chosen one in on POST.
 *
 * @returns `false` when the request is for something else
 */
export async function handleInteraction(
  provider: Provider,
  { users, appUrl }: { users: readonly DemoUser[]; appUrl: string | undefined },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  if (!request.url?.startsWith('/interaction/')) return false

  let details: InteractionDetails
  try {
    details = await provider.interactionDetails(request, response)
  } catch {
    // A page left open too long, or opened in another browser: there is nothing to go on with.
    send(response, 400, expiredPage(appUrl))
    return true
  }
  const acr = requestedAcr(details)

  if (request.method !== 'POST') {
    const page = signInPage({
      action: request.url,
      client: details.params['client_id'] ?? 'The app',
      users,
      clientOrigin: new URL(details.params['redirect_uri'] ?? provider.issuer).origin,
      stepUp: details.session !== undefined && details.prompt.reasons.includes('acr_values'),
    })
    send(response, 200, page)
    return true
  }

  const form = new URLSearchParams(await readBody(request))
  const user = users.find(({ sub }) => sub === form.get('user'))
  const result = user
    ? { login: { accountId: user.sub, acr } }
    : { error: 'access_denied', error_description: 'The sign-in was cancelled' }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false })
  return true
}

function send(response: ServerResponse, status: number, { html, csp }: Page): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': csp,
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
  })
  response.end(html)
}

/** The first of the asked-for contexts, or else the plain click. */
function requestedAcr({ params }: InteractionDetails): string {
  const wanted = params['acr_values']
  return wanted?.split(' ')[0] || ACR.click
}

async function readBody(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) {
    body += String(chunk)
    if (body.length > BODY_LIMIT) break
  }
  return body
}
