/** axe-core in a page: what would keep people with assistive technology out. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'

let source: Promise<string> | undefined

/** One line for each violation: rule, what it is, where. By CDP evaluation, so the page's own CSP stays as it is. */
export async function violationsOf(page: Page): Promise<string[]> {
  source ??= readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  await page.evaluate(await source)
  return page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.map(({ id, help, nodes }) => id + ': ' + help + ' at ' + nodes.map(({ target }) => target.join(' ')).join(', ')))`)
}

/** The same with light colours and with dark ones, and light at the end. */
export async function violationsInBothSchemes(page: Page): Promise<string[]> {
  const violations: string[] = []
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme })
    violations.push(...(await violationsOf(page)).map((line) => `${colorScheme}: ${line}`))
  }
  return violations
}
