/** What script in this page can reach, and whether any of it looks like a token. */

/** A JWT in any of its serialisations, or a parameter whose name says that it is a token. */
const TOKEN = /\beyJ[\w-]{8,}\.[\w-]*\.|(access|refresh|id)_token|\bBearer [\w.~+/-]{16,}/i

/** What the gateway has answered to this page since it was opened: how often, and how often with a token in it. */
const answers = { read: 0, suspicious: 0 }

/** Searches an answer, so that it counts in the inventory. */
export function remember(text) {
  answers.read += 1
  if (TOKEN.test(text)) answers.suspicious += 1
}

/** Enough for this page; a page that holds more is searched as far as that. */
const MOST_VALUES = 20_000

/** @returns {Promise<{ place: string, found: string, suspicious: boolean }[]>} one line for each place searched */
export async function takeInventory() {
  return [
    await search('Cookies', 'none that script can see', () => document.cookie.split('; ').filter(Boolean)),
    await search('Local storage', 'empty', () => Object.entries(localStorage).map(join)),
    await search('Session storage', 'empty', () => Object.entries(sessionStorage).map(join)),
    await search('Databases', 'none', async () => (await indexedDB.databases()).map(({ name }) => name ?? '')),
    await search('Caches', 'none', () => caches.keys()),
    await search('Address', 'no parameters', () => [location.search + location.hash].filter(Boolean)),
    searchMemory(),
    { place: 'Answers so far', found: `${answers.read}, all searched`, suspicious: answers.suspicious > 0 },
  ]
}

function join([name, value]) {
  return `${name}=${value}`
}

async function search(place, nothing, look) {
  try {
    const items = await look()
    return { place, found: items.join(', ') || nothing, suspicious: items.some((item) => TOKEN.test(item)) }
  } catch {
    // A browser that takes no cookies has no storage for script either.
    return { place, found: 'closed to script by this browser', suspicious: false }
  }
}

/** Everything that hangs on this window by its own properties, the page as it stands, and addresses it has asked for. */
function searchMemory() {
  const page = document.documentElement.cloneNode(true)
  // The list of what was found shows it: that would be found again, as if it were in two places.
  page.querySelector('#browser')?.remove()
  const addresses = performance.getEntries().map(({ name }) => name)
  const queue = [window, history.state, document.referrer, window.name, page.outerHTML, addresses]
  const seen = new Set()
  let found = 0
  // An element that is added while the loop runs is visited too.
  for (const value of queue) {
    if (typeof value === 'string' && TOKEN.test(value)) found += 1
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    // Getters are left alone: some of them do things.
    for (const { value: inner } of Object.values(Object.getOwnPropertyDescriptors(value))) {
      if (queue.length < MOST_VALUES) queue.push(inner)
    }
  }
  return { place: 'Memory', found: `${queue.length} values, all searched`, suspicious: found > 0 }
}
