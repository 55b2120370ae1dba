/** What browsers meet at `publicUrl`, if the gateway runs already: this gateway, its cookies whole, its instances agreed. */
import { Agent } from 'undici'
import { providerEntries } from '../../config/provider-rules.ts'
import type { Config } from '../../config/schema.ts'
import { cookieNames } from '../../http/cookies.ts'
import { KeyRing } from '../../session/key-ring.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { PROCESS_TRUST, reach, speaksTls } from './reach.ts'

const PATIENCE_MS = 5_000
/** Enough to meet a second instance behind a load balancer, and far from the limit of logins. */
const LOGINS = 6
const KEY_ID_LENGTH = 8

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

/** Asks as a browser without a session would. Each login that it begins ends there: nobody goes on with it. */
export async function examineFront(config: Config): Promise<Finding[]> {
  const findings = new Findings('publicUrl')
  const url = new URL(config.publicUrl)
  const reached = new Findings('publicUrl')
  if (!(await reach(url, reached, PROCESS_TRUST))) {
    const [problem] = reached.list
    const isPlain = url.protocol === 'https:' && problem?.message.includes('TLS does not come about')
    if (isPlain) {
      findings.fail(
        `${config.publicUrl}: the server there does not speak TLS, so no browser can open it`,
        'let a proxy in front end TLS there, or write listen: { tls: { certFile, keyFile } }',
      )
    } else {
      findings.warn(
        `the gateway cannot be asked at ${config.publicUrl}: ${problem?.message ?? 'no answer'}`,
        'nothing to do if it is not started yet, or cannot be reached from here',
      )
    }
    return findings.list
  }
  if (await isGateway(config, url, findings)) await examineLogins(config, findings)
  return findings.list
}

async function isGateway(config: Config, url: URL, findings: Findings): Promise<boolean> {
  const address = `${config.publicUrl}${config.basePath}/session`
  const answer = await asked(address, { accept: 'application/json' })
  if (!answer && url.protocol === 'http:' && (await speaksTls(url))) {
    findings.fail(
      `${url.host} speaks TLS, and publicUrl begins with http://`,
      `write publicUrl: ${config.publicUrl.replace('http:', 'https:')}`,
    )
    return false
  }
  const isOurs = answer && (answer.headers.has('sidegate-error') || /^\{"authenticated":(true|false)/.test(answer.body))
  if (isOurs) return true
  findings.fail(
    `${address} answers ${answer?.status ?? 'nothing'}, and not as this gateway does: something else is there`,
    `let the proxy in front pass ${config.basePath}/ and the routes to the gateway, with their paths unchanged; or free the port`,
  )
  return false
}

async function examineLogins(config: Config, findings: Findings): Promise<void> {
  const { transactionPrefix } = cookieNames(config)
  const [provider] = providerEntries(config)
  const query = config.providers ? `?provider=${encodeURIComponent(provider?.name ?? '')}` : ''
  const keyIds = new Set<string>()
  for (let count = 0; count < LOGINS; count += 1) {
    const answer = await asked(`${config.publicUrl}${config.basePath}/login${query}`, { accept: 'text/html' })
    // The provider may be away, or the limit reached: what there is to say of that is said elsewhere.
    if (answer?.status !== 302) break
    if (!hasRightAddress(config, answer, findings)) return
    const cookie = answer.headers.getSetCookie().find((line) => line.startsWith(transactionPrefix))
    if (!isWhole(config, cookie)) {
      findings.fail(
        'the cookies of the gateway do not arrive as it sets them',
        `take what rewrites cookies out of the proxy in front (nginx: proxy_cookie_path, proxy_cookie_domain, proxy_cookie_flags)`,
      )
      return
    }
    keyIds.add(cookie.slice(cookie.indexOf('=') + 1).slice(0, KEY_ID_LENGTH))
  }
  judgeKeys(config, keyIds, findings)
}

function hasRightAddress(config: Config, answer: Answer, findings: Findings): boolean {
  const target = URL.parse(answer.headers.get('location') ?? '')
  const redirectUri = target?.searchParams.get('redirect_uri')
  const wanted = `${config.publicUrl}${config.basePath}/callback`
  // A pushed request says nothing of it.
  if (redirectUri === null || redirectUri === undefined || redirectUri === wanted) return true
  findings.fail(
    `the gateway that answers sends browsers back to ${redirectUri.slice(0, 200)}: it runs with another publicUrl or basePath`,
    'start it with this configuration',
  )
  return false
}

function isWhole(config: Config, cookie: string | undefined): cookie is string {
  const attributes = cookie?.split(';').map((part) => part.trim().toLowerCase()) ?? []
  const wanted = [`path=${config.basePath.toLowerCase()}/callback`, 'httponly']
  if (!config.session.cookie.insecure) wanted.push('secure')
  return wanted.every((one) => attributes.includes(one)) && !attributes.some((one) => one.startsWith('domain='))
}

/** A sealed cookie begins with the id of its key: instances that do not share keys are told apart by it. */
function judgeKeys(config: Config, keyIds: ReadonlySet<string>, findings: Findings): void {
  const { keys } = config.session
  const isForeign = keys !== undefined && [...keyIds].some((id) => !new KeyRing(keys).has(id))
  if (keyIds.size > 1 && !config.store.redis) {
    findings.fail(
      'several instances answer at publicUrl, and each has sessions of its own in memory: users are signed out from request to request',
      'write store.redis and session.keysFile, the same for all instances; or run one',
    )
  } else if (keyIds.size > 1 || isForeign) {
    findings.fail(
      'an instance that answers at publicUrl has other session keys than this configuration: it cannot open the sessions of the others',
      'give all instances the same session.keysFile; new keys go to its end first',
    )
  } else if (keyIds.size > 0) {
    findings.ok(`the gateway answers at ${config.publicUrl}, and its cookies arrive as it sets them`)
  } else findings.ok(`the gateway answers at ${config.publicUrl}; it begins no login now`)
}

/** On a connection of its own, so that a load balancer chooses anew. */
async function asked(url: string, headers: Record<string, string>): Promise<Answer | undefined> {
  const agent = new Agent({ pipelining: 0 })
  try {
    const {
      statusCode,
      headers: fields,
      body,
    } = await agent.request({
      origin: new URL(url).origin,
      path: url.slice(new URL(url).origin.length),
      method: 'GET',
      headers,
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
    const list = Object.entries(fields).flatMap(([name, value]) =>
      [value ?? []].flat().map((one): [string, string] => [name, one]),
    )
    return { status: statusCode, headers: new Headers(list), body: (await body.text()).slice(0, 10_000) }
  } catch {
    return undefined // told as no answer
  } finally {
    await agent.close()
  }
}
