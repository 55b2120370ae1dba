/** What the actions write on the page: results, lists, times. */

const KEPT_RESULTS = 20

export const $ = (id) => document.getElementById(id)

/** An element with properties and children in one go. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

/** Adds a line to the results, newest first; the list is a live region, so it is spoken too. */
export function say(text, { bad = false, detail } = {}) {
  $('no-results').hidden = true
  const time = element('time', { textContent: new Date().toLocaleTimeString() })
  const item = element('li', { className: bad ? 'bad' : '' }, element('p', {}, time, text))
  if (detail !== undefined) {
    const seen = element('pre', { textContent: JSON.stringify(detail, null, 2), tabIndex: 0 })
    item.append(element('details', {}, element('summary', { textContent: 'What the API saw' }), seen))
  }
  $('results').prepend(item)
  $('results').parentElement.scrollTop = 0
  while ($('results').children.length > KEPT_RESULTS) $('results').lastElementChild.remove()
}

export function clock(seconds) {
  const left = Math.max(0, Math.floor(seconds))
  const minutes = Math.floor((left % 3_600) / 60)
  const parts = [
    left >= 3_600 ? `${Math.floor(left / 3_600)} h` : '',
    left >= 60 ? `${minutes} min` : '',
    `${left % 60} s`,
  ]
  return parts.filter(Boolean).join(' ')
}

/** Writes a definition list, touching only what changed, so that nothing flickers or loses its selection. */
export function fill(list, rows) {
  const names = rows.map(([name]) => name)
  if ([...list.querySelectorAll('dt')].map((dt) => dt.textContent).join() !== names.join()) {
    list.replaceChildren(...names.flatMap((name) => [element('dt', { textContent: name }), element('dd')]))
  }
  list.querySelectorAll('dd').forEach((dd, index) => {
    if (dd.textContent !== rows[index][1]) dd.textContent = rows[index][1]
  })
}

/** Runs one action at a time for each button; a second press while it runs does nothing. */
export function onPress(id, action, afterwards) {
  const button = $(id)
  const run = async () => {
    button.setAttribute('aria-disabled', 'true')
    try {
      await action()
    } catch {
      say('The gateway does not answer. Is the demo still running?', { bad: true })
    }
    button.removeAttribute('aria-disabled')
    await afterwards()
  }
  button.addEventListener('click', () => {
    if (button.getAttribute('aria-disabled') !== 'true') void run()
  })
}
