import { Component, inject, signal } from '@angular/core'
import { bootstrapApplication } from '@angular/platform-browser'
import { Sidegate } from './session.ts'

@Component({
  selector: 'main',
  template: `
    @if (sidegate.session(); as session) {
      <p>{{ session.authenticated ? 'Signed in as ' + session.user?.['name'] : 'Nobody is signed in' }}</p>
      @if (session.authenticated) {
        <button (click)="sidegate.client.logout()">Sign out</button>
      } @else {
        <button (click)="sidegate.client.login()">Sign in</button>
      }
      <button (click)="call()">Call the API</button>
      <output>{{ answer() }}</output>
    }
  `,
})
export class App {
  readonly sidegate = inject(Sidegate)
  readonly answer = signal('')

  async call() {
    const response = await this.sidegate.client.fetch('/api/orders')
    this.answer.set(`The API answered ${response.status}`)
  }
}

await bootstrapApplication(App)
