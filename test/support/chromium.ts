/** The real browser, Chromium of the machine, driven by playwright-core. */
import { tmpdir } from 'node:os'
import { chromium } from 'playwright-core'
import type { Browser } from 'playwright-core'
import { findProgram, tools } from '../../scripts/test-tools.mjs'

/** The path of the machine's Chromium or Chrome. */
export function chromiumPath(): string {
  const tool = tools.find(({ names }) => names.includes('chromium'))
  const path = findProgram(tool?.names ?? ['chromium'])
  if (path === undefined) throw new Error('there is no Chromium here: `apt-get install chromium` provides it')
  return path
}

/** Starts a headless Chromium; `await using` closes it. */
export async function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath(),
    // Chromium refuses its sandbox to root, which is who runs tests in containers; its shared memory is small there.
    args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage'],
    env: { ...process.env, HOME: process.env['HOME'] ?? tmpdir() },
  })
}
