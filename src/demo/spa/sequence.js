/** A sequence diagram (SVG) of the steps of a sign-in, and the same in words for who does not see it. */
import { element } from './page.js'

const SVG = 'http://www.w3.org/2000/svg'
const PARTIES = { browser: 'This browser', gateway: 'Gateway', provider: 'Sign-in service' }
/** Where the parties stand, and the measures of letters: on a screen, and on a phone. */
const WIDE = { width: 760, columns: { browser: 90, gateway: 380, provider: 670 }, party: 156, letters: [7.3, 5.8] }
const NARROW = { width: 366, columns: { browser: 52, gateway: 183, provider: 314 }, party: 100, letters: [6.1, 5] }
const narrow = matchMedia('(width < 40rem)')
let redraw
const TOP = 56
const ROW = 46

/** What each request is for, by where it goes: the first that fits. */
const MEANINGS = [
  ['gateway', /\/login$/, 'a redirect, and a cookie for this one attempt'],
  ['provider', / \/request$/, 'what is asked for, server to server (PAR)'],
  ['provider', / \/auth$/, 'the browser arrives with a reference, no secret'],
  ['provider', /^POST \/interaction\//, 'the answer, which the gateway never sees'],
  ['provider', /\/interaction\//, 'who are you?'],
  ['provider', / \/auth\//, 'back to the app, with a code that is good once'],
  ['gateway', /\/callback$/, 'the code arrives; a session cookie leaves'],
  ['provider', / \/token$/, 'code and proof against tokens, server to server'],
  ['provider', / \/jwks$/, 'the keys that prove the ID token'],
  ['provider', / \/me$/, 'the user’s claims'],
  ['provider', /openid-configuration$/, 'where everything is'],
  ['gateway', /\/session$/, 'who is signed in? Claims, and never a token'],
  ['gateway', /\/login\/done$/, 'the popup tells the page, and closes'],
  ['gateway', /./, 'the page itself'],
]

export function drawSequence(place, hint, steps) {
  const key = JSON.stringify(steps)
  if (steps.length === 0 || place.dataset.key === key) return
  place.dataset.key = key
  place.hidden = false
  hint.textContent = `${steps.length} requests, as the servers met them. No token comes near the left line.`
  const words = element('ol', {}, ...steps.map((step) => element('li', { textContent: inWords(step) })))
  const summary = element('summary', { textContent: 'The steps in words' })
  const draw = () => diagram(steps, narrow.matches ? NARROW : WIDE)
  place.replaceChildren(draw(), element('details', {}, summary, words))
  redraw?.abort()
  redraw = new AbortController()
  const again = () => place.firstElementChild.replaceWith(draw())
  narrow.addEventListener('change', again, { signal: redraw.signal })
}

function inWords(step) {
  const { from, to, method, status } = step
  return `${PARTIES[from]} to ${PARTIES[to]}: ${method} ${shortPath(step)}, answered ${status}. ${capital(meaningOf(step))}.`
}

function meaningOf({ to, method, path }) {
  return MEANINGS.find(([party, pattern]) => party === to && pattern.test(`${method} ${path}`))?.[2] ?? 'something else'
}

/** One-time parts of a path tell nobody anything. */
function shortPath({ path, grantType }) {
  return path.replace(/\/[\w-]{15,}$/, '/…') + (grantType === 'authorization_code' ? ' (code)' : '')
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function diagram(steps, layout) {
  const { width, columns, party } = layout
  const height = TOP + steps.length * ROW + 16
  const svg = shape('svg', {
    class: layout === NARROW ? 'narrow' : '',
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    'aria-labelledby': 'sequence-title',
  })
  svg.append(arrowHead())
  for (const [name, x] of Object.entries(columns)) {
    svg.append(
      shape('line', { class: 'life', x1: x, y1: TOP - 14, x2: x, y2: height - 8 }),
      shape('rect', { class: 'party', x: x - party / 2, y: 8, width: party, height: 34, rx: 8 }),
      text(x, 30, 'party-name', PARTIES[name]),
    )
  }
  steps.forEach((step, index) => svg.append(...arrow(step, TOP + index * ROW + 30, layout)))
  return svg
}

function arrow(step, y, { width, columns, letters }) {
  const [x1, x2] = [columns[step.from], columns[step.to]]
  const lines = [
    [`${step.method} ${shortPath(step)} → ${step.status}`, 'label', y - 7],
    [meaningOf(step), 'meaning', y + 13],
  ]
  return [
    ...lines.flatMap(([words, className, baseline], index) => {
      const half = (words.length * letters[index]) / 2 + 4
      const middle = Math.min(Math.max((x1 + x2) / 2, half), width - half)
      // Over a line of life the words need a ground.
      const ground = { class: 'ground', x: middle - half, y: baseline - 12, width: 2 * half, height: 16 }
      return [shape('rect', ground), text(middle, baseline, className, words)]
    }),
    shape('line', {
      class: step.from === 'browser' ? 'message' : 'message behind',
      x1,
      y1: y,
      x2: x2 - Math.sign(x2 - x1) * 3,
      y2: y,
      'marker-end': 'url(#arrow)',
    }),
  ]
}

function arrowHead() {
  const marker = shape('marker', {
    id: 'arrow',
    viewBox: '0 0 8 8',
    refX: 7,
    refY: 4,
    markerWidth: 8,
    markerHeight: 8,
    orient: 'auto',
  })
  marker.append(shape('path', { class: 'head', d: 'M0 0 8 4 0 8z' }))
  const definitions = shape('defs', {})
  definitions.append(marker)
  return definitions
}

function text(x, y, className, words) {
  const made = shape('text', { x, y, class: className, 'text-anchor': 'middle' })
  made.textContent = words
  return made
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name)
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value)
  return made
}
