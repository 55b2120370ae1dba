/** HTTP/1.1 messages as bytes: what a test sends, and what it makes of what came. No library between the two. */

export interface RawMessage {
  /** The request or status line. */
  readonly startLine: string
  /** Names as they came. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
  /** Whether all of the body has come, by whatever frames it. */
  readonly isComplete: boolean
}

/** All values of a field, by its name in lower case. */
export function valuesOf(message: RawMessage, name: string): string[] {
  return message.fields.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value)
}

/** The status of an answer. */
export function statusOf(message: RawMessage): number {
  return Number(message.startLine.split(' ')[1])
}

/**
 * Takes a byte stream apart. An answer's body may also end with the connection, or not be there at all (HEAD).
 */
export function parseMessages(
  bytes: Buffer,
  options: { isAnswer: boolean; isClosed?: boolean; isHead?: boolean },
): RawMessage[] {
  const messages: RawMessage[] = []
  let rest = bytes
  while (rest.length > 0) {
    const headEnd = rest.indexOf('\r\n\r\n')
    if (headEnd === -1) break
    const [startLine = '', ...lines] = rest.subarray(0, headEnd).toString('latin1').split('\r\n')
    const fields = lines.map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at), line.slice(at + 1).trim()] as const
    })
    const framed = bodyOf(rest.subarray(headEnd + 4), startLine, fields, options)
    messages.push({ startLine, fields, body: framed.body, isComplete: framed.isComplete })
    rest = framed.rest
  }
  return messages
}

type Framed = { body: Buffer; isComplete: boolean; rest: Buffer }
const NOTHING = Buffer.alloc(0)

function bodyOf(
  bytes: Buffer,
  startLine: string,
  fields: readonly (readonly [string, string])[],
  { isAnswer, isClosed = false, isHead = false }: { isAnswer: boolean; isClosed?: boolean; isHead?: boolean },
): Framed {
  const field = (name: string) => fields.find(([one]) => one.toLowerCase() === name)?.[1]
  const status = isAnswer ? Number(startLine.split(' ')[1]) : 0
  if (isHead || status === 101 || status === 204 || status === 304 || (status >= 100 && status < 200)) {
    return { body: status === 101 ? bytes : NOTHING, isComplete: true, rest: status === 101 ? NOTHING : bytes }
  }
  // Behind a handshake comes another protocol.
  if (!isAnswer && field('upgrade') !== undefined) return { body: bytes, isComplete: true, rest: NOTHING }
  if (field('transfer-encoding') !== undefined) return chunked(bytes)
  const length = field('content-length')
  if (length !== undefined) {
    const body = bytes.subarray(0, Number(length))
    return { body, isComplete: body.length === Number(length), rest: bytes.subarray(body.length) }
  }
  return isAnswer
    ? { body: bytes, isComplete: isClosed, rest: NOTHING }
    : { body: NOTHING, isComplete: true, rest: bytes }
}

function chunked(bytes: Buffer): Framed {
  const parts: Buffer[] = []
  let rest = bytes
  for (;;) {
    const lineEnd = rest.indexOf('\r\n')
    const size = lineEnd === -1 ? Number.NaN : Number.parseInt(rest.subarray(0, lineEnd).toString('latin1'), 16)
    if (Number.isNaN(size)) return { body: Buffer.concat(parts), isComplete: false, rest: NOTHING }
    const from = lineEnd + 2
    if (size === 0) {
      const end = rest.indexOf('\r\n', from)
      return { body: Buffer.concat(parts), isComplete: end !== -1, rest: end === -1 ? NOTHING : rest.subarray(end + 2) }
    }
    parts.push(rest.subarray(from, from + size))
    if (rest.length < from + size + 2) return { body: Buffer.concat(parts), isComplete: false, rest: NOTHING }
    rest = rest.subarray(from + size + 2)
  }
}
