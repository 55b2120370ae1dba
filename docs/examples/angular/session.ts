import { Injectable, signal } from '@angular/core'
import { createClient, type Session } from 'sidegate/browser'

@Injectable({ providedIn: 'root' })
export class Sidegate {
  readonly client = createClient()
  /** `undefined` until it is known. */
  readonly session = signal<Session | undefined>(undefined)

  constructor() {
    this.client.onChange((change) => this.session.set(change.session))
  }
}
