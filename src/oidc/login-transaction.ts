/** One login on its way: a seed from which state, nonce and verifier are derived, and where the browser wanted to go. */
import { createHmac, createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto'

const VERSION = 1
const SEED_BYTES = 32
const HEADER_BYTES = 1 + SEED_BYTES + 6

/** How long a login may take, from its start to its callback. */
export const TRANSACTION_LIFETIME_MS = 600_000

/** What travels, sealed, in the transaction cookie. */
export interface LoginTransaction {
  readonly seed: Buffer
  /** Epoch ms. */
  readonly createdAt: number
  /** The name under `providers`, or `default`. */
  readonly provider: string
  /** `issuerMark` of the server that was asked: the code goes to no other (RFC 9700 §4.4.2). Absent in old ones. */
  readonly issuer?: string
  /** Where to go afterwards; `undefined` when it is too long for the cookie and waits in the store. */
  readonly returnTo: string | undefined
  /** `max_age` and `acr_values` as sent: what comes back is held against them (OIDC Core §3.1.3.7-12, -13). */
  readonly maxAgeSeconds?: number
  readonly acrValues?: readonly string[]
  /** The login runs in a popup that closes itself. */
  readonly isPopup?: boolean
  /** `prompt=none` was sent: a refusal is an answer, not a failure. */
  readonly isSilent?: boolean
}

interface Details {
  r?: string
  p?: string
  i?: string
  m?: number
  a?: readonly string[]
  w?: 1
  s?: 1
}

export function createLoginTransaction(details: Omit<LoginTransaction, 'seed'>): LoginTransaction {
  return { seed: randomBytes(SEED_BYTES), ...details }
}

/** Stands for an issuer in eight characters: a cookie has no room for its address. */
export function issuerMark(issuer: string): string {
  return hash('sha256', issuer, 'base64url').slice(0, 8)
}

/** One for each seed, as long as that is there. */
const keys = new WeakMap<Buffer, KeyObject>()

// A KeyObject and not the Buffer: Node finds out what a Buffer is by way of errors, which takes five times as long.
function derive(seed: Buffer, purpose: string): string {
  let key = keys.get(seed)
  if (key === undefined) {
    key = createSecretKey(seed)
    keys.set(seed, key)
  }
  return createHmac('sha256', key).update(purpose).digest('base64url')
}

/** 256 bits, 43 characters (RFC 6749 §10.12). */
export function stateOf(transaction: LoginTransaction): string {
  return derive(transaction.seed, 'state')
}

/** 43 characters (OIDC Core §15.5.2). */
export function nonceOf(transaction: LoginTransaction): string {
  return derive(transaction.seed, 'nonce')
}

/** 256 bits, 43 characters (RFC 7636 §4.1). */
export function codeVerifierOf(transaction: LoginTransaction): string {
  return derive(transaction.seed, 'code_verifier')
}

/** What joins a state to its cookie: enough of it to tell the transactions of one browser apart. */
export function transactionId(state: string): string {
  return state.slice(0, 8)
}

/** As short as it can be: a browser may hold twenty of them. */
export function encodeTransaction(transaction: LoginTransaction): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt8(VERSION, 0)
  transaction.seed.copy(header, 1)
  header.writeUIntBE(transaction.createdAt, 1 + SEED_BYTES, 6)
  const details: Details = {}
  if (transaction.issuer !== undefined) details.i = transaction.issuer
  if (transaction.returnTo !== undefined) details.r = transaction.returnTo
  if (transaction.provider !== 'default') details.p = transaction.provider
  if (transaction.maxAgeSeconds !== undefined) details.m = transaction.maxAgeSeconds
  if (transaction.acrValues) details.a = transaction.acrValues
  if (transaction.isPopup) details.w = 1
  if (transaction.isSilent) details.s = 1
  return Buffer.concat([header, Buffer.from(JSON.stringify(details))])
}

/** @param plain what our own key ring opened; `undefined` when it is of another version of the gateway */
export function decodeTransaction(plain: Buffer): LoginTransaction | undefined {
  if (plain.length < HEADER_BYTES || plain.readUInt8(0) !== VERSION) return undefined
  // Ours: it was sealed by our key ring under this purpose.
  const details = JSON.parse(plain.subarray(HEADER_BYTES).toString()) as Details
  return {
    seed: Buffer.from(plain.subarray(1, 1 + SEED_BYTES)),
    createdAt: plain.readUIntBE(1 + SEED_BYTES, 6),
    provider: details.p ?? 'default',
    ...(details.i !== undefined && { issuer: details.i }),
    returnTo: details.r,
    ...(details.m !== undefined && { maxAgeSeconds: details.m }),
    ...(details.a && { acrValues: details.a }),
    ...(details.w && { isPopup: true }),
    ...(details.s && { isSilent: true }),
  }
}
