/**
 * Loaded into a gateway's process in front of everything (`--import`): each `await` of our source can throw from then
 * on. SIGUSR2 lets them begin, a second one ends it and writes down how many there were, and where.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import type { Awaited } from './awaited.ts'
import { Dice } from './fuzz-input.ts'

const SOURCE = new URL('../../src/', import.meta.url).href
/** One in so many. */
const ONE_IN = 15

// Found by whoever starts the process, so that this one needs no parser.
const awaited = JSON.parse(readFileSync(process.env['FAULT_PLACES'] ?? '', 'utf8')) as Awaited // awaited.ts
const dice = new Dice(Number(process.env['FAULT_SEED'] ?? 1))
const places = new Map<string, number>()
let isOn = false

declare global {
  var injectFault: (place: string, awaited: unknown) => unknown
}

globalThis.injectFault = (place, awaited) => {
  if (!isOn || dice.below(ONE_IN) > 0) return awaited
  places.set(place, (places.get(place) ?? 0) + 1)
  // Once it is done: its effects are there, and nobody learns what came of it.
  return Promise.resolve(awaited).then(() => {
    throw new Error(`an injected fault at ${place}`)
  })
}

process.on('SIGUSR2', () => {
  isOn = !isOn
  if (!isOn) writeFileSync(process.env['FAULT_FILE'] ?? '/dev/null', JSON.stringify([...places]))
})

registerHooks({
  load(url, context, nextLoad) {
    if (!url.startsWith(SOURCE)) return nextLoad(url, context)
    const source = stripTypeScriptTypes(readFileSync(new URL(url), 'utf8'))
    return { format: 'module', shortCircuit: true, source: withFaults(source, url.slice(SOURCE.length)) }
  },
})

/** `await x` as `await injectFault('place', x)`. */
function withFaults(source: string, file: string): string {
  let text = source
  // From the end, so that the places in front stay where they are; an inner one begins behind its outer one.
  const inserted = (awaited[file] ?? [])
    .flatMap(({ start, end }) => [
      { at: start, what: `injectFault(${JSON.stringify(`${file}:${start}`)}, `, order: 0 },
      { at: end, what: ')', order: 1 },
    ])
    .toSorted((a, b) => b.at - a.at || a.order - b.order)
  for (const { at, what } of inserted) text = text.slice(0, at) + what + text.slice(at)
  return text
}
