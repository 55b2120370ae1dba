/** The tokens of one grant, as the provider gave them. */

/** Wire values stay as they came; times are epoch milliseconds. */
export interface TokenSet {
  readonly accessToken: string
  /** Lower case, as compared by RFC 6749 §5.1. */
  readonly tokenType: 'bearer' | 'dpop'
  /** Already clamped; always set (a missing `expires_in` becomes the default lifetime). */
  readonly accessTokenExpiresAt: number
  readonly refreshToken?: string
  /** The raw last ID token: the `id_token_hint` of a logout. */
  readonly idToken?: string
  /** Space-separated, as granted. */
  readonly scope?: string
}
