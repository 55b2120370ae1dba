/** Single-page applications that the gateway serves itself: files of a directory, or an index from elsewhere. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { BffError } from '../errors.ts'
import type { SecurityHeaders } from '../http/security-headers.ts'
import type { Log } from '../telemetry/log.ts'
import { judgedOf } from './proxy.ts'
import { RemoteIndex } from './remote-index.ts'
import type { Route, RouteTable } from './route-table.ts'

export interface SpaOptions {
  readonly routes: RouteTable
  readonly security: Pick<SecurityHeaders, 'spa'>
  readonly log: Log
  readonly now: () => number
}

type SpaConfig = NonNullable<Route['config']['spa']>

/** A path that names a file: a navigation to it is somebody looking for that file and not for a view of the app. */
const FILE_NAME =
  /\.(?:avif|css|csv|gif|gz|html?|ico|jpe?g|js|json|m?js|map|mp[34]|ogg|otf|pdf|png|svg|ttf|txt|wasm|webm|webmanifest|webp|woff2?|xml|zip)$/i
/** The last part of a name before its extension, where bundlers put the hash of the content. */
const HASHED_NAME = /[.-]([A-Za-z0-9_-]{8,})(?:\.chunk|\.min)?\.[a-z0-9]{2,5}(?:\.map)?$/
/** Where bundlers write nothing else. */
const BUNDLE_DIRECTORY = /\/(?:assets|static|_next\/static|_app\/immutable|chunks|build)\//

/** Registers every route with `spa.directory` or `spa.indexUrl`; a development server is an upstream like any other. */
export async function registerSpa(app: FastifyInstance, options: SpaOptions): Promise<void> {
  for (const route of options.routes.routes) {
    const { spa } = route.config
    if (!spa || spa.devServer !== undefined) continue
    await app.register(async (scope) => registerOne(scope, route, spa, options))
  }
}

async function registerOne(scope: FastifyInstance, route: Route, spa: SpaConfig, options: SpaOptions): Promise<void> {
  if (spa.directory !== undefined) {
    await scope.register(fastifyStatic, {
      root: spa.directory,
      // Only for `reply.sendFile`: which file answers, and how it may be kept, is decided below.
      serve: false,
      index: false,
      redirect: false,
      cacheControl: false,
      dotfiles: 'allow',
      // `app.js.br` beside `app.js` is sent to whoever takes it.
      preCompressed: true,
    })
  }
  scope.setErrorHandler((error, _request, reply) => {
    const refusal = conditionRefused(error)
    if (!refusal) throw error
    return reply.code(refusal.statusCode).headers(refusal.headers).send()
  })
  const index =
    spa.indexUrl === undefined ? undefined : new RemoteIndex(spa.indexUrl, { log: options.log, now: options.now })
  const handler = (request: FastifyRequest, reply: FastifyReply) =>
    serve(request, reply, { route, spa, index, options })
  const prefix = route.path.replaceAll(':', '::')
  for (const url of route.path === '' ? ['/', '/*'] : [prefix, `${prefix}/*`]) {
    scope.route({ method: ['GET', 'HEAD'], url, handler })
  }
}

/** A range or a precondition that a file does not meet is no failure of anybody: RFC 9110 §13.1, §14.2. */
function conditionRefused(error: unknown): { statusCode: 412 | 416; headers: Record<string, string> } | undefined {
  // What @fastify/send throws carries its answer; anything else goes on to the one error handler.
  const { statusCode, headers } = error as { statusCode?: unknown; headers?: Record<string, string> }
  return statusCode === 412 || statusCode === 416 ? { statusCode, headers: headers ?? {} } : undefined
}

interface Served {
  readonly route: Route
  readonly spa: SpaConfig
  readonly index: RemoteIndex | undefined
  readonly options: SpaOptions
}

async function serve(request: FastifyRequest, reply: FastifyReply, served: Served): Promise<FastifyReply> {
  const { route, spa, index, options } = served
  const judged = judgedOf(request, route)
  reply.headers(options.security.spa)
  // Who is signed in decides whether there is an answer at all.
  const isShared = route.policy.session === 'none'
  reply.header('vary', isShared ? 'Accept-Encoding' : 'Accept-Encoding, Cookie')

  const path = decodeURIComponent(judged.path.path.slice(route.path.length)) || '/'
  const file = await fileFor(path, spa)
  if (file !== undefined && spa.directory !== undefined) {
    reply.header('cache-control', cacheControlOf(file, isShared))
    return reply.sendFile(file, spa.directory)
  }
  if (!judged.isNavigation || FILE_NAME.test(path)) throw new BffError('not_found', 'the app has no such file')
  reply.header('cache-control', isShared ? 'no-cache' : 'private, no-cache')
  if (index) return reply.type('text/html; charset=utf-8').send(await index.read())
  // In a directory without its index the app has not been built.
  if ((await fileFor(`/${spa.fallback}`, spa)) === undefined) throw new BffError('not_found', 'the app has no index')
  return reply.sendFile(`/${spa.fallback}`, spa.directory)
}

/** The path of the file that a URL path names, from the directory; `undefined` where it names none. */
async function fileFor(path: string, { directory, fallback, indexUrl }: SpaConfig): Promise<string | undefined> {
  if (directory === undefined) return undefined
  const isDirectory = path.endsWith('/')
  // The root's index is the app's, wherever that comes from.
  if (path === '/' && indexUrl !== undefined) return undefined
  const file = path === '/' ? `/${fallback}` : isDirectory ? `${path}index.html` : path
  if (!isPlain(file)) return undefined
  try {
    return (await stat(join(directory, file))).isFile() ? file : undefined
  } catch {
    return undefined // whatever keeps us from it, it is no file for anybody outside
  }
}

/**
 * Whether a decoded path goes down from the directory by plain names only. Dot segments were refused with the
 * request; dotfiles (`.env`, `.git`) are nobody's business, but `.well-known` is there to be asked (RFC 8615).
 */
function isPlain(path: string): boolean {
  const [first, ...names] = path.split('/')
  if (first !== '' || path.includes('\\')) return false
  return names.every((name, at) => name !== '' && (!name.startsWith('.') || (at === 0 && name === '.well-known')))
}

/** What is named by the hash of its content never changes; all else is asked for anew, by its ETag. */
function cacheControlOf(file: string, isShared: boolean): string {
  const scope = isShared ? 'public' : 'private'
  return isHashed(file) ? `${scope}, max-age=31536000, immutable` : `${scope}, no-cache`
}

/**
 * `app.3f2a1b9c.js`, `index-BxY3d9Q_.js`; but not `app-controller.js`, nor `report-20240101.pdf`. A name that is
 * taken for hashed wrongly would be kept for a year, one that is missed is only asked for again.
 */
function isHashed(file: string): boolean {
  const hash = HASHED_NAME.exec(file)?.[1]
  if (hash === undefined || /\.html?$/i.test(file)) return false
  const hasDigit = /\d/.test(hash)
  if (/^[0-9a-f]+$/.test(hash)) return hasDigit && /[a-f]/.test(hash)
  const isMixed = /[a-z]/.test(hash.slice(1)) && /[A-Z]/.test(hash.slice(1))
  const isCapitals = /^[A-Z0-9]+$/.test(hash) && /[A-Z]/.test(hash)
  if (BUNDLE_DIRECTORY.test(file)) return isMixed || isCapitals || (hasDigit && /[A-Za-z]/.test(hash))
  return hasDigit && (isMixed || isCapitals)
}
