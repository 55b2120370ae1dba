import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type CsrfFacts,
  csrfFactsOf,
  type CsrfOptions,
  type CsrfPlace,
  isNavigation,
  judgeCsrf,
  prefersHtml,
} from '../../src/http/csrf.ts'

const OWN = 'https://app.example'
const LISTED = 'https://spa.app.example'
const FOREIGN = 'https://evil.example'

const options: CsrfOptions = { publicOrigin: OWN, corsOrigins: [LISTED], requireHeader: false }
const strict: CsrfOptions = { ...options, requireHeader: true }

const silent: CsrfFacts = {
  method: 'GET',
  secFetchSite: undefined,
  secFetchMode: undefined,
  secFetchDest: undefined,
  origin: undefined,
  xCsrf: undefined,
  accept: undefined,
}
const fetched: Partial<CsrfFacts> = { secFetchMode: 'cors', secFetchDest: 'empty' }
const document: Partial<CsrfFacts> = {
  secFetchMode: 'navigate',
  secFetchDest: 'document',
  accept: 'text/html,*/*;q=0.8',
}
const frame: Partial<CsrfFacts> = { secFetchMode: 'navigate', secFetchDest: 'iframe', accept: 'text/html,*/*;q=0.8' }

const api: CsrfPlace = {
  session: 'required',
  navigable: false,
  isEndpoint: false,
  isWebSocket: false,
  isEventStream: false,
}
const download: CsrfPlace = { ...api, navigable: true }
const loginRoute: CsrfPlace = { ...api, session: 'login' }
const optionalRoute: CsrfPlace = { ...api, session: 'optional' }
const endpoint: CsrfPlace = { ...api, session: 'optional', isEndpoint: true }
const events: CsrfPlace = { ...endpoint, isEventStream: true }
const socket: CsrfPlace = { ...api, isWebSocket: true }

function judge(facts: Partial<CsrfFacts>, place: CsrfPlace, how = options): string {
  const verdict = judgeCsrf({ ...silent, ...facts }, place, how)
  return verdict.ok ? 'passes' : verdict.reason
}

test.each([
  // rule 1
  ['our own script reads', { secFetchSite: 'same-origin', ...fetched }, api, 'passes'],
  ['our own script writes', { method: 'POST', secFetchSite: 'same-origin', origin: OWN, ...fetched }, api, 'passes'],
  [
    'our own page shows an image',
    { secFetchSite: 'same-origin', secFetchMode: 'no-cors', secFetchDest: 'image' },
    api,
    'passes',
  ],
  ['our own script asks an endpoint', { secFetchSite: 'same-origin', ...fetched }, endpoint, 'passes'],
  ['our own link opens a download', { secFetchSite: 'same-origin', ...document }, api, 'passes'],
  [
    'our own form is posted',
    { method: 'POST', secFetchSite: 'same-origin', origin: OWN, ...document },
    endpoint,
    'passes',
  ],
  ['a sibling reads', { secFetchSite: 'same-site', ...fetched }, api, 'same_site'],
  [
    'a sibling writes',
    { method: 'POST', secFetchSite: 'same-site', origin: 'https://x.app.example', ...fetched },
    api,
    'foreign_origin',
  ],
  ['a sibling reads with the header', { secFetchSite: 'same-site', xCsrf: '1', ...fetched }, api, 'same_site'],
  [
    'a listed sibling without the header',
    { secFetchSite: 'same-site', origin: LISTED, ...fetched },
    api,
    'header_missing',
  ],
  [
    'a listed sibling with the header',
    { secFetchSite: 'same-site', origin: LISTED, xCsrf: '1', ...fetched },
    api,
    'passes',
  ],
  [
    'a listed sibling with a wrong header',
    { secFetchSite: 'same-site', origin: LISTED, xCsrf: '0', ...fetched },
    api,
    'header_missing',
  ],
  ['another site reads', { secFetchSite: 'cross-site', ...fetched }, api, 'cross_site'],
  [
    'another site shows an image',
    { secFetchSite: 'cross-site', secFetchMode: 'no-cors', secFetchDest: 'image' },
    api,
    'cross_site',
  ],
  [
    'another site writes',
    { method: 'POST', secFetchSite: 'cross-site', origin: FOREIGN, ...document },
    api,
    'foreign_origin',
  ],
  ['another site with the header', { secFetchSite: 'cross-site', xCsrf: '1', ...fetched }, api, 'cross_site'],
  [
    'another site that is listed',
    { secFetchSite: 'cross-site', origin: LISTED, xCsrf: '1', ...fetched },
    api,
    'cross_site',
  ],
  ['a typed address of an API', { secFetchSite: 'none', ...document }, api, 'direct'],
  ['a typed address of a download', { secFetchSite: 'none', ...document }, download, 'passes'],
  ['a typed address of an endpoint', { secFetchSite: 'none', ...document }, endpoint, 'direct'],
  ['a typed address of an optional route', { secFetchSite: 'none', ...document }, optionalRoute, 'passes'],
  ['a typed address, by HEAD', { method: 'HEAD', secFetchSite: 'none', ...document }, download, 'direct'],
  ['a browser extension reads', { secFetchSite: 'none', ...fetched }, download, 'direct'],
  ['a word that is no site', { secFetchSite: 'self', ...document }, loginRoute, 'unknown_site'],
  ['an empty site', { secFetchSite: '', ...fetched }, api, 'unknown_site'],
  ['two sites', { secFetchSite: 'same-origin, cross-site', ...fetched }, api, 'unknown_site'],
  // rule 2
  ['a link from another site to a login route', { secFetchSite: 'cross-site', ...document }, loginRoute, 'passes'],
  [
    'a link from another site to an optional route',
    { secFetchSite: 'cross-site', ...document },
    optionalRoute,
    'passes',
  ],
  ['a link from a sibling to a login route', { secFetchSite: 'same-site', ...document }, loginRoute, 'passes'],
  ['a link from another site to a download', { secFetchSite: 'cross-site', ...document }, download, 'cross_site'],
  ['a link from another site to an endpoint', { secFetchSite: 'cross-site', ...document }, endpoint, 'cross_site'],
  ['a frame in another site', { secFetchSite: 'cross-site', ...frame }, loginRoute, 'cross_site'],
  ['a form of another site', { method: 'POST', secFetchSite: 'cross-site', ...document }, loginRoute, 'cross_site'],
  [
    'a fetch of another site',
    { secFetchSite: 'cross-site', secFetchMode: 'navigate', secFetchDest: 'empty' },
    loginRoute,
    'cross_site',
  ],
  // rule 3
  ['an old browser’s own script', { method: 'POST', origin: OWN }, api, 'passes'],
  ['an old browser’s listed sibling', { origin: LISTED }, api, 'passes'],
  ['an old browser’s other site', { method: 'POST', origin: FOREIGN }, api, 'foreign_origin'],
  ['an old browser’s other site with the header', { origin: FOREIGN, xCsrf: '1' }, api, 'foreign_origin'],
  ['nothing but the header', { xCsrf: '1' }, api, 'passes'],
  ['nothing but a wrong header', { xCsrf: '1, 1' }, api, 'no_proof'],
  ['nothing at all', {}, api, 'no_proof'],
  ['an old browser opens a login route', { accept: 'text/html' }, loginRoute, 'passes'],
  ['an old browser opens an optional route', { accept: 'text/html' }, optionalRoute, 'passes'],
  ['an old browser opens an API', { accept: 'text/html' }, api, 'no_proof'],
  ['an old browser opens a download', { accept: 'text/html' }, download, 'no_proof'],
  ['an old browser opens an endpoint', { accept: 'text/html' }, endpoint, 'no_proof'],
  ['an old browser’s form on a login route', { method: 'POST', accept: 'text/html' }, loginRoute, 'no_proof'],
  ['a program on a login route', { accept: '*/*' }, loginRoute, 'no_proof'],
  // rule 4
  [
    'a site of ours and an origin of others',
    { secFetchSite: 'same-origin', origin: FOREIGN, xCsrf: '1' },
    api,
    'foreign_origin',
  ],
  [
    'a site of ours and the origin null',
    { method: 'POST', secFetchSite: 'same-origin', origin: 'null', xCsrf: '1' },
    api,
    'foreign_origin',
  ],
  ['the origin null alone', { origin: 'null', xCsrf: '1' }, api, 'foreign_origin'],
  [
    'a link with the origin null',
    { secFetchSite: 'cross-site', origin: 'null', ...document },
    loginRoute,
    'foreign_origin',
  ],
  ['our origin in other letters', { origin: 'HTTPS://APP.EXAMPLE' }, api, 'foreign_origin'],
  ['our origin with a slash', { origin: `${OWN}/` }, api, 'foreign_origin'],
  ['our origin twice', { origin: `${OWN}, ${OWN}` }, api, 'foreign_origin'],
  // WebSocket handshakes
  ['our own page connects', { secFetchSite: 'same-origin', origin: OWN, secFetchMode: 'websocket' }, socket, 'passes'],
  [
    'another page connects',
    { secFetchSite: 'cross-site', origin: FOREIGN, secFetchMode: 'websocket' },
    socket,
    'foreign_origin',
  ],
  ['an old browser’s own page connects', { origin: OWN }, socket, 'passes'],
  ['nobody connects', {}, socket, 'no_proof'],
  ['a handshake that poses as a document', { accept: 'text/html' }, { ...socket, session: 'login' }, 'no_proof'],
  [
    'a handshake that poses as a link',
    { secFetchSite: 'cross-site', ...document },
    { ...socket, session: 'optional' },
    'cross_site',
  ],
] as const satisfies readonly (readonly [string, Partial<CsrfFacts>, CsrfPlace, string])[])(
  '%s (CS-01, CS-04, CS-05, CS-06, CS-08)',
  (_, facts, place, expected) => {
    expect(judge(facts, place)).toBe(expected)
  },
)

test.each([
  ['a call without it', { secFetchSite: 'same-origin', ...fetched }, api, 'header_missing'],
  ['a call with it', { secFetchSite: 'same-origin', xCsrf: '1', ...fetched }, api, 'passes'],
  ['a call with another value', { secFetchSite: 'same-origin', xCsrf: 'true', ...fetched }, api, 'header_missing'],
  ['an old browser without it', { origin: OWN }, api, 'header_missing'],
  [
    'a form without it',
    { method: 'POST', secFetchSite: 'same-origin', origin: OWN, ...document },
    endpoint,
    'header_missing',
  ],
  ['a script on a login route', { secFetchSite: 'same-origin', ...fetched }, loginRoute, 'header_missing'],
  ['a document of a login route', { secFetchSite: 'same-origin', ...document }, loginRoute, 'passes'],
  ['a link of our own to a download', { secFetchSite: 'same-origin', ...document }, download, 'passes'],
  ['a typed address of a download', { secFetchSite: 'none', ...document }, download, 'passes'],
  ['an event stream', { secFetchSite: 'same-origin', ...fetched }, events, 'passes'],
  ['a WebSocket', { secFetchSite: 'same-origin', origin: OWN }, socket, 'passes'],
  ['an event stream of another site', { secFetchSite: 'cross-site', ...fetched }, events, 'cross_site'],
] as const satisfies readonly (readonly [string, Partial<CsrfFacts>, CsrfPlace, string])[])(
  'csrf.requireHeader: %s (CS-02, SC-11)',
  (_, facts, place, expected) => {
    expect(judge(facts, place, strict)).toBe(expected)
  },
)

/** The rules written a second time, rule by rule and without an order, to hold the first against. */
function contractAllows(facts: CsrfFacts, place: CsrfPlace, how: CsrfOptions): boolean {
  const opensDocuments = !place.isEndpoint && ['login', 'optional'].includes(place.session)
  const navigable = !place.isEndpoint && place.session === 'required' && place.navigable
  const isTop =
    facts.method === 'GET' &&
    facts.secFetchMode === 'navigate' &&
    facts.secFetchDest === 'document' &&
    !place.isWebSocket
  const asksForHtml = facts.method === 'GET' && prefersHtml(facts.accept) && !place.isWebSocket

  const siteAllows = {
    'same-origin': true,
    'same-site': how.corsOrigins.includes(facts.origin ?? '') && facts.xCsrf === '1',
    none: isTop && (opensDocuments || navigable),
    'cross-site': false,
  }[facts.secFetchSite ?? '']
  const rule1Or2 = siteAllows !== undefined && (siteAllows || (opensDocuments && isTop))
  const originAllows = facts.origin === how.publicOrigin || how.corsOrigins.includes(facts.origin ?? '')
  const rule3 = facts.origin === undefined ? facts.xCsrf === '1' || (opensDocuments && asksForHtml) : originAllows
  const rule4 = facts.origin === undefined || originAllows
  const passes = facts.secFetchSite === undefined ? rule3 : rule1Or2 && rule4

  const isDocument =
    (opensDocuments && (facts.secFetchSite === undefined ? asksForHtml : isTop)) || (navigable && isTop)
  const hasHeader = facts.xCsrf === '1' || !how.requireHeader || place.isWebSocket || place.isEventStream || isDocument
  return passes && hasHeader
}

const everyFact = {
  method: ['GET', 'HEAD', 'POST'],
  secFetchSite: [undefined, 'same-origin', 'same-site', 'none', 'cross-site', 'nonsense'],
  secFetchMode: [undefined, 'navigate', 'cors', 'websocket'],
  secFetchDest: [undefined, 'document', 'iframe', 'empty'],
  origin: [undefined, OWN, LISTED, FOREIGN, 'null'],
  xCsrf: [undefined, '1', '0'],
  accept: [undefined, 'text/html', '*/*'],
}
const places: CsrfPlace[] = [api, download, loginRoute, optionalRoute, endpoint, events]
const everyPlace = places.flatMap((place) => [place, { ...place, isWebSocket: true }])

function* everyCombination(): Generator<CsrfFacts> {
  for (const method of everyFact.method)
    for (const secFetchSite of everyFact.secFetchSite)
      for (const secFetchMode of everyFact.secFetchMode)
        for (const secFetchDest of everyFact.secFetchDest)
          for (const origin of everyFact.origin)
            for (const xCsrf of everyFact.xCsrf)
              for (const accept of everyFact.accept)
                yield { method, secFetchSite, secFetchMode, secFetchDest, origin, xCsrf, accept }
}

test('every combination of facts, places and settings is judged as the rules say (CS-01, CS-04)', () => {
  const wrong: unknown[] = []
  let count = 0
  for (const facts of everyCombination()) {
    for (const place of everyPlace) {
      for (const how of [options, strict]) {
        count += 1
        if (judgeCsrf(facts, place, how).ok !== contractAllows(facts, place, how)) wrong.push({ facts, place, how })
      }
    }
  }
  expect(wrong.slice(0, 3)).toEqual([])
  expect(count).toBeGreaterThan(200_000)
})

test('nothing that another site can send passes, but a link to a document that is open to links (CS-01, CS-06)', () => {
  const text = fc.option(fc.string({ maxLength: 8 }), { nil: undefined })
  const facts = fc.record({
    method: fc.oneof(fc.constantFrom('GET', 'POST', 'PUT'), fc.string()),
    secFetchSite: fc.constantFrom('cross-site', 'same-site'),
    secFetchMode: fc.oneof(text, fc.constantFrom(...everyFact.secFetchMode)),
    secFetchDest: fc.oneof(text, fc.constantFrom(...everyFact.secFetchDest)),
    origin: fc.oneof(text, fc.constantFrom(undefined, FOREIGN, 'null', `${OWN}.evil.example`)),
    xCsrf: fc.constantFrom(undefined, '1'),
    accept: fc.oneof(text, fc.constantFrom(...everyFact.accept)),
  })
  fc.assert(
    fc.property(facts, fc.constantFrom(...everyPlace), fc.boolean(), (fact, place, requireHeader) => {
      if (!judgeCsrf(fact, place, { ...options, requireHeader }).ok) return
      expect(fact).toMatchObject({
        method: 'GET',
        secFetchMode: 'navigate',
        secFetchDest: 'document',
        origin: undefined,
      })
      expect(place).toMatchObject({ isEndpoint: false, isWebSocket: false })
      expect(['login', 'optional']).toContain(place.session)
    }),
    { numRuns: 5_000 },
  )
})

test('the facts are read off the header fields, and repeated ones prove nothing', () => {
  const facts = csrfFactsOf('GET', {
    'sec-fetch-site': 'same-origin',
    'x-csrf': ['1', '1'],
    origin: OWN,
    accept: 'a/b',
  })
  expect(facts).toMatchObject({ secFetchSite: 'same-origin', xCsrf: '1, 1', origin: OWN, accept: 'a/b' })
})

test.each([
  [undefined, false],
  ['*/*', false],
  ['text/html', true],
  ['TEXT/HTML', true],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', true],
  ['application/json', false],
  ['application/json, text/html;q=0.9', false],
  ['text/html, application/json', false],
  ['text/html;q=0.9, application/json;q=0.8', true],
  ['text/*, application/json;q=0.5', true],
  ['text/html;q=0, */*', false],
  ['text/html;q=2', false],
  ['text/html;level=1;q=0.3, */*;q=0.2', true],
  [`text/html,${'a/b,'.repeat(1_000)}`, false],
])('Accept: %s is asked for by a person: %s', (accept, expected) => {
  expect(prefersHtml(accept)).toBe(expected)
})

test('a navigation says so; only without a word about it its Accept is looked at', () => {
  expect(isNavigation({ 'sec-fetch-mode': 'navigate' })).toBe(true)
  expect(isNavigation({ 'sec-fetch-mode': 'cors', accept: 'text/html' })).toBe(false)
  expect(isNavigation({ accept: 'text/html' })).toBe(true)
  expect(isNavigation({})).toBe(false)
})
