/**
 * The part of oidc-provider that we touch. Not @types/oidc-provider: its Koa types clash with those of
 * content-disposition 3, and seventeen more packages would come along.
 */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  /** https://github.com/panva/node-oidc-provider/blob/main/docs/README.md */
  export type Configuration = Record<string, unknown>

  export interface ProviderContext {
    req: IncomingMessage
    res: ServerResponse
    path: string
    status: number
    type: string
    body: unknown
    set(name: string, value: string): void
    oidc: {
      uid: string
      route: string
      params?: Record<string, string | undefined>
      client?: { clientId: string; clientName?: string; grantTypeAllowed(type: string): boolean }
      session?: ProviderSession
      result?: { login?: { accountId: string; acr?: string }; consent?: { grantId?: string } }
      account?: { accountId: string }
      acr?: string
      entities: Record<string, { acr?: string; accountId?: string; authTime?: number } | undefined>
      provider: Provider
    }
  }

  export interface ProviderSession {
    uid: string
    accountId?: string
    acr?: string
    state?: Record<string, unknown>
    grantIdFor(clientId: string): string | undefined
  }

  export interface ProviderGrant {
    addOIDCScope(scope: string): void
    addOIDCClaims(claims: readonly string[]): void
    addResourceScope(resource: string, scope: string): void
    save(): Promise<string>
  }

  /** What the interaction page is asked to do, found by the cookie of the pending authorization request. */
  export interface InteractionDetails {
    uid: string
    prompt: { name: string; reasons: string[]; details: Record<string, unknown> }
    params: Record<string, string | undefined>
    session?: { accountId: string }
  }

  export interface AdapterPayload extends Record<string, unknown> {
    uid?: string
    userCode?: string
    grantId?: string
    consumed?: number
  }

  export class Provider {
    constructor(issuer: string, configuration: Configuration)
    readonly issuer: string
    readonly Grant: {
      new (properties: { accountId: string; clientId: string }): ProviderGrant
      find(id: string): Promise<ProviderGrant | undefined>
    }
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>
    /** Koa middleware, run around every endpoint. */
    use(middleware: (ctx: ProviderContext, next: () => Promise<void>) => Promise<void>): this
    on(event: string, listener: (...args: never[]) => void): this
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<InteractionDetails>
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: Record<string, unknown>,
      options?: { mergeWithLastSubmission?: boolean },
    ): Promise<void>
  }

  export const errors: Record<string, new (...args: unknown[]) => Error & { error: string }>

  export const interactionPolicy: InteractionPolicy

  export interface InteractionPolicy {
    Check: {
      new (
        reason: string,
        description: string,
        error: string,
        check: (ctx: ProviderContext) => boolean | Promise<boolean>,
      ): unknown
      readonly REQUEST_PROMPT: true
      readonly NO_NEED_TO_PROMPT: false
    }
    base: () => { get(name: string): { checks: { add(check: unknown, index?: number): void } } | undefined }
  }

  export default Provider
}
