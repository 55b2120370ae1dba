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

/** @returns {Promise<{ place: string, found: string, suspicious: boolean }[]>} one line for each place searched */
export async function takeInventory() {
  const databases = await (indexedDB.databases?.() ?? [])
  const cacheNames = await caches.keys()
  return [
    line('Cookies', document.cookie.split('; ').filter(Boolean), 'none that script can see'),
    line('Local storage', Object.entries(localStorage).map(join), 'empty'),
    line('Session storage', Object.entries(sessionStorage).map(join), 'empty'),
    line(
      'Databases',
      databases.map(({ name }) => name ?? ''),
      'none',
    ),
    line('Caches', cacheNames, 'none'),
    line('Address', location.search || location.hash ? [location.search + location.hash] : [], 'no parameters'),
    { place: 'Answers so far', found: `${answers.read}, all searched`, suspicious: answers.suspicious > 0 },
  ]
}

function join([name, value]) {
  return `${name}=${value}`
}

function line(place, items, nothing) {
  return { place, found: items.join(', ') || nothing, suspicious: items.some((item) => TOKEN.test(item)) }
}
