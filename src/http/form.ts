/** The bodies that our own endpoints take: none, JSON or a form, of at most 64 kB. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { BffError } from '../errors.ts'

/** Bytes; more is 413. */
export const BODY_LIMIT = 65_536

/**
 * Takes Fastify's parsers out of a scope and puts ours in. Any other type of body is 415, one over the limit 413,
 * before it is read whole; Fastify's own errors are translated by the error handler.
 */
export function takeFormsAndJson(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  const options = { parseAs: 'buffer', bodyLimit: BODY_LIMIT } as const
  scope.addContentTypeParser(
    'application/x-www-form-urlencoded',
    options,
    async (_request: FastifyRequest, body: Buffer) => parseForm(body),
  )
  scope.addContentTypeParser('application/json', options, async (_request: FastifyRequest, body: Buffer) =>
    parseJson(body),
  )
}

/**
 * The form that was posted; who reads it decides about repeated parameters.
 *
 * @throws BffError `unsupported_media_type` when the body is something else or missing
 */
export async function readForm(request: Pick<FastifyRequest, 'body'>): Promise<URLSearchParams> {
  if (request.body instanceof URLSearchParams) return request.body
  throw new BffError('unsupported_media_type', 'a form (application/x-www-form-urlencoded) is wanted')
}

function parseForm(body: Buffer): URLSearchParams {
  return new URLSearchParams(utf8(body))
}

/** Parsed to refuse what is broken, and into objects without a prototype that a `__proto__` member could change. */
function parseJson(body: Buffer): unknown {
  const text = utf8(body)
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
  } catch {
    throw new BffError('invalid_request', 'the body is no JSON')
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true })

function utf8(body: Buffer): string {
  try {
    return decoder.decode(body)
  } catch {
    throw new BffError('invalid_request', 'the body is no UTF-8')
  }
}
