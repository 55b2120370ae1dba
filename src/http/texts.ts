/** Every word that our own pages show, in one place. */
import type { FailureCode } from '../errors.ts'

interface FailureText {
  readonly heading: string
  readonly explanation: string
  /** What the page's button does. */
  readonly action: 'signIn' | 'signInAgain' | 'tryAgain' | 'home'
}

const failures: Readonly<Record<FailureCode, FailureText>> = {
  invalid_request: {
    heading: 'This address does not work',
    explanation: 'The address or the form that brought you here is not valid. Nothing was changed.',
    action: 'home',
  },
  login_failed: {
    heading: 'Sign-in did not finish',
    explanation:
      'You are not signed in by this attempt. That happens when a sign-in page was left open for too long or was opened a second time, and in a browser that takes no cookies.',
    action: 'signInAgain',
  },
  login_required: {
    heading: 'Please sign in',
    explanation: 'This page is for people who are signed in.',
    action: 'signIn',
  },
  session_expired: {
    heading: 'Your session has ended',
    explanation: 'You were signed out because the session came to its end. Sign in to go on.',
    action: 'signInAgain',
  },
  step_up_required: {
    heading: 'Please confirm that it is you',
    explanation: 'This page asks for a stronger or more recent sign-in than the one you have.',
    action: 'signIn',
  },
  csrf_rejected: {
    heading: 'This request was stopped',
    explanation:
      'It came from another site, or from a place that we do not know. To protect your account, nothing was done.',
    action: 'home',
  },
  forbidden: {
    heading: 'No access',
    explanation: 'You are signed in, but your account may not open this page.',
    action: 'home',
  },
  not_found: {
    heading: 'Page not found',
    explanation: 'There is nothing at this address. It may have been moved, or mistyped.',
    action: 'home',
  },
  method_not_allowed: {
    heading: 'This does not work here',
    explanation: 'The page cannot be used in this way.',
    action: 'home',
  },
  payload_too_large: {
    heading: 'That was too large',
    explanation: 'What you sent is larger than this page takes. Nothing was stored.',
    action: 'home',
  },
  uri_too_long: {
    heading: 'The address is too long',
    explanation: 'The link that brought you here is longer than any address we have.',
    action: 'home',
  },
  unsupported_media_type: {
    heading: 'This was not understood',
    explanation: 'What was sent has a form that this page does not take.',
    action: 'home',
  },
  misdirected_request: {
    heading: 'This is the wrong server',
    explanation: 'The request was meant for another address.',
    action: 'home',
  },
  headers_too_large: {
    heading: 'Too many cookies',
    explanation: 'Your browser sent more than we take. Clearing the cookies of this site usually helps.',
    action: 'tryAgain',
  },
  rate_limited: {
    heading: 'Too many attempts',
    explanation: 'That was more often than is allowed. Wait a minute, then try again.',
    action: 'tryAgain',
  },
  internal: {
    heading: 'Something went wrong',
    explanation: 'The fault is on our side. It has been recorded. Trying again may help.',
    action: 'tryAgain',
  },
  upstream_unavailable: {
    heading: 'The application does not answer',
    explanation: 'You are not signed out. Try again in a moment.',
    action: 'tryAgain',
  },
  store_unavailable: {
    heading: 'Please try again in a moment',
    explanation: 'We cannot look up sessions just now. You are not signed out.',
    action: 'tryAgain',
  },
  provider_unavailable: {
    heading: 'The sign-in service does not answer',
    explanation: 'Please try again in a moment.',
    action: 'tryAgain',
  },
  overloaded: {
    heading: 'Very busy right now',
    explanation: 'There are more requests than can be answered. Please try again in a moment.',
    action: 'tryAgain',
  },
  upstream_timeout: {
    heading: 'That took too long',
    explanation: 'The application did not answer in time. Try again in a moment.',
    action: 'tryAgain',
  },
  loop_detected: {
    heading: 'This address leads back to itself',
    explanation: 'The request went round in a circle. The fault is on our side.',
    action: 'home',
  },
}

export const texts = {
  language: 'en',
  failures,
  actions: {
    signIn: 'Sign in',
    signInAgain: 'Sign in again',
    tryAgain: 'Try again',
    home: 'Go to the start page',
  },
  code: 'Code',
  reference: 'Reference',
  signIn: {
    heading: 'Sign in to continue',
    explanation: 'Another site sent you here. Sign in only if you meant to come.',
  },
  chooseProvider: {
    heading: 'How do you want to sign in?',
    explanation: 'Choose the service that has your account.',
  },
  sessions: {
    heading: 'Where you are signed in',
    explanation: 'Each line is a browser that is signed in as you. End what you do not know or do not use.',
    current: 'this browser',
    signedIn: 'signed in',
    lastUsed: 'used',
    justNow: 'just now',
    end: 'Sign out',
    endOthers: 'Sign out everywhere else',
  },
  signedOut: {
    heading: 'You are signed out',
    explanation: 'On a shared computer, close the browser window as well.',
  },
  signedIn: {
    heading: 'You are signed in',
    explanation: 'This window closes by itself. If it stays open, you can close it and go on in the other one.',
  },
} as const
