/** The two people who can sign in to the demo, and how strongly. */

/** A user of the demo's authorization server; `claims` are what its ID tokens say beside `sub`. */
export interface DemoUser {
  readonly sub: string
  readonly claims: {
    readonly name: string
    readonly email: string
    readonly email_verified: boolean
    readonly groups: readonly string[]
  }
}

/** Alice may sell and administer, Bob may only sell. */
export const DEMO_USERS: readonly DemoUser[] = [
  {
    sub: 'alice',
    claims: { name: 'Alice Liddell', email: 'alice@example.com', email_verified: true, groups: ['sales', 'admin'] },
  },
  { sub: 'bob', claims: { name: 'Bob Carroll', email: 'bob@example.com', email_verified: true, groups: ['sales'] } },
]

/** Authentication contexts that the demo asserts (`acr`): the plain click, and the click that a step-up asked for. */
export const ACR = { click: 'urn:sidegate:demo:click', secondFactor: 'urn:sidegate:demo:second-factor' } as const
