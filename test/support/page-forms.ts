/** The forms and links of an HTML page, read well enough for the pages of this project. */

export interface Form {
  readonly action: string
  readonly method: string
  /** Names and values of its inputs, hidden ones among them. */
  readonly fields: readonly (readonly [string, string])[]
  readonly buttons: readonly { readonly name: string; readonly value: string; readonly text: string }[]
}

/** All forms of a page, with the buttons that stand outside and name them by `form=`. */
export function readForms(html: string): Form[] {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, opening = '', inner = '']) => {
    const id = attribute(opening, 'id')
    const outside = [...html.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)].filter(
      ([, tag = '']) => id !== undefined && attribute(tag, 'form') === id,
    )
    const inside = [...inner.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)]
    return {
      action: attribute(opening, 'action') ?? '',
      method: (attribute(opening, 'method') ?? 'get').toUpperCase(),
      fields: [...inner.matchAll(/<input\b([^>]*)>/gi)].flatMap(([, tag = '']) => {
        const name = attribute(tag, 'name')
        return name === undefined ? [] : [[name, attribute(tag, 'value') ?? ''] as const]
      }),
      buttons: [...inside, ...outside].map(([, tag = '', text = '']) => ({
        name: attribute(tag, 'name') ?? '',
        value: attribute(tag, 'value') ?? '',
        text: text.replace(/<[^>]*>/g, ' ').trim(),
      })),
    }
  })
}

/** The addresses of the page's links, as written. */
export function readLinks(html: string): string[] {
  return [...html.matchAll(/<a\b([^>]*)>/gi)].flatMap(([, tag = '']) => attribute(tag, 'href') ?? [])
}

/** Whether a script of the page sends its form off by itself. */
export function submitsItself(html: string): boolean {
  return /<script\b[^>]*>[\s\S]*?\.(submit|requestSubmit)\(/i.test(html)
}

function attribute(tag: string, name: string): string | undefined {
  const match = new RegExp(`(?:^|\\s)${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(tag)
  return match ? unescape(match[1] ?? match[2] ?? match[3] ?? '') : undefined
}

function unescape(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return named[name] ?? whole
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16))
  })
}
