/** The keys that seal everything which leaves the process: sessions, cookies, notes, index entries. */
import type { KeyObject } from 'node:crypto'
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
} from 'node:crypto'
import type { StoredSession } from './store.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** base64url of six bytes: eight characters, so that what follows stays aligned. */
const KEY_ID_LENGTH = 8
/** First byte of a sealed session; a later layout gets another, and older gateways then read "no session" (R29). */
const SESSION_FORMAT = 1
const SEALED = /^[A-Za-z0-9_-]{46,}$/

interface RingKey {
  readonly id: string
  readonly hash: KeyObject
  readonly seal: KeyObject
  readonly session: KeyObject
  readonly bound: KeyObject
}

/** What comes of opening a stored session. `unknown_key`: the ring may be older than the record; read it again first. */
export type OpenedSession = { readonly json: string } | { readonly failure: 'unknown_key' | 'unreadable' }

/**
 * AES-256-GCM under a ring of keys: the first seals, all open.
 *
 * Each key of the ring is only the root of derived ones (HKDF, RFC 5869): one hashes, one seals, and one is mixed with
 * the cookie's value to the key of that one session. So neither a dump of the store, nor the ring, nor both
 * open a session without the cookie.
 */
export class KeyRing {
  #keys: readonly RingKey[]

  /** @param keys 32 bytes each as base64url; the first one seals. Throws TypeError without naming a value. */
  constructor(keys: readonly string[]) {
    this.#keys = parse(keys)
  }

  /** A fresh key as `sidegate keygen` prints it. */
  static generateKey(): string {
    return randomBytes(KEY_BYTES).toString('base64url')
  }

  /** Swaps the ring while running; a ring that does not parse changes nothing and throws. */
  update(keys: readonly string[]): void {
    this.#keys = parse(keys)
  }

  /** The id of the key that seals now; a record under another one is sealed anew at its next write. */
  get keyId(): string {
    return this.#first.id
  }

  has(keyId: string): boolean {
    return this.#keys.some((key) => key.id === keyId)
  }

  /** Seals for one purpose, which must be named again to open: what was sealed as a cookie is no note. */
  seal(purpose: string, plain: Buffer | string): string {
    const key = this.#first
    return key.id + encrypt(key.seal, plain, Buffer.from(purpose)).toString('base64url')
  }

  /** `undefined` when it was not sealed by a key of the ring for this purpose, or was changed since. */
  open(purpose: string, sealed: string): Buffer | undefined {
    if (!SEALED.test(sealed)) return undefined
    const key = this.#find(sealed.slice(0, KEY_ID_LENGTH))
    return key && decrypt(key.seal, Buffer.from(sealed.slice(KEY_ID_LENGTH), 'base64url'), Buffer.from(purpose))
  }

  /** As `seal`, but what comes out opens only with `secret` as well: the ring alone does not do. */
  sealFor(secret: string | Buffer, purpose: string, plain: Buffer | string): string {
    const key = this.#first
    return key.id + encrypt(boundKey(key, secret), plain, Buffer.from(purpose)).toString('base64url')
  }

  openFor(secret: string | Buffer, purpose: string, sealed: string): Buffer | undefined {
    if (!SEALED.test(sealed)) return undefined
    const key = this.#find(sealed.slice(0, KEY_ID_LENGTH))
    return (
      key && decrypt(boundKey(key, secret), Buffer.from(sealed.slice(KEY_ID_LENGTH), 'base64url'), Buffer.from(purpose))
    )
  }

  /** A hash that cannot be recomputed without the ring: for keys of the store that must not name a user. */
  keyedHash(purpose: string, value: string): string {
    return hash(this.#first, purpose, value)
  }

  /** The same under every key of the ring, newest first: entries written before a rotation are found too. */
  keyedHashes(purpose: string, value: string): string[] {
    return this.#keys.map((key) => hash(key, purpose, value))
  }

  /** Seals one version of one session; another version or ref cannot be put in its place. */
  sealSession(cookieValue: string, ref: string, version: number, json: string): { keyId: string; sealed: Buffer } {
    const key = this.#first
    const body = encrypt(sessionKey(key, cookieValue), json, sessionContext(ref, version))
    return { keyId: key.id, sealed: Buffer.concat([Buffer.of(SESSION_FORMAT), body]) }
  }

  openSession(
    cookieValue: string,
    ref: string,
    stored: Pick<StoredSession, 'version' | 'keyId' | 'sealed'>,
  ): OpenedSession {
    const key = this.#find(stored.keyId)
    if (!key) return { failure: 'unknown_key' }
    if (stored.sealed[0] !== SESSION_FORMAT) return { failure: 'unreadable' }
    const context = sessionContext(ref, stored.version)
    const plain = decrypt(sessionKey(key, cookieValue), stored.sealed.subarray(1), context)
    return plain ? { json: plain.toString() } : { failure: 'unreadable' }
  }

  get #first(): RingKey {
    const [first] = this.#keys
    if (!first) throw new TypeError('the key ring is empty')
    return first
  }

  #find(id: string): RingKey | undefined {
    return this.#keys.find((key) => key.id === id)
  }
}

function parse(texts: readonly string[]): readonly RingKey[] {
  if (texts.length === 0) throw new TypeError('a key ring needs at least one key')
  return texts.map((text, index) => {
    const trimmed = text.trim()
    const root = Buffer.from(trimmed, 'base64url')
    if (root.length !== KEY_BYTES || root.toString('base64url') !== trimmed.replace(/=+$/, '')) {
      throw new TypeError(`key ${index + 1} of the ring is not 32 bytes as base64url; \`sidegate keygen\` prints one`)
    }
    return {
      id: createHash('sha256').update('sidegate key id').update(root).digest().subarray(0, 6).toString('base64url'),
      hash: derive(root, 'hash'),
      seal: derive(root, 'seal'),
      session: derive(root, 'session'),
      bound: derive(root, 'bound'),
    }
  })
}

// A KeyObject and not a Buffer: Node converts a Buffer on every call, which makes one decryption 4.5 times as slow.
function derive(root: Buffer, label: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', root, '', `sidegate ${label}`, KEY_BYTES)))
}

function sessionKey(key: RingKey, cookieValue: string): KeyObject {
  return createSecretKey(createHmac('sha256', key.session).update(cookieValue).digest())
}

function boundKey(key: RingKey, secret: string | Buffer): KeyObject {
  return createSecretKey(createHmac('sha256', key.bound).update(secret).digest())
}

function sessionContext(ref: string, version: number): Buffer {
  return Buffer.from(`${ref}.${version}`)
}

function hash(key: RingKey, purpose: string, value: string): string {
  // The separator cannot occur in a purpose, so no two pairs give the same input.
  return createHmac('sha256', key.hash).update(purpose).update('\0').update(value).digest('base64url')
}

function encrypt(key: KeyObject, plain: Buffer | string, context: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(context)
  const head = typeof plain === 'string' ? cipher.update(plain, 'utf8') : cipher.update(plain)
  return Buffer.concat([nonce, head, cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: KeyObject, sealed: Buffer, context: Buffer): Buffer | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAAD(context)
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  try {
    const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES))
    // In this mode nothing is left to come out, and the tag is looked at.
    decipher.final()
    return plain
  } catch {
    // The tag does not match: sealed for something else, or changed. There is nothing to tell them apart by.
    return undefined
  }
}
