/** The real browser, Chromium of the machine, driven by playwright-core. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContext, LaunchOptions } from 'playwright-core'
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
  return chromium.launch(launchOptions())
}

function launchOptions(): LaunchOptions {
  return {
    executablePath: chromiumPath(),
    // Chromium refuses its sandbox to root, which is who runs tests in containers; its shared memory is small there.
    args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage'],
    env: { ...process.env, HOME: process.env['HOME'] ?? tmpdir() },
  }
}

export interface ProfileOptions {
  /** `blocked-on-localhost`: none for the gateway, on whose host no storage is open to script either. */
  readonly cookies: 'allowed' | 'blocked-on-localhost' | 'no-third-party'
}

/**
 * A Chromium with a profile of its own and the settings of people's browsers: popups are blocked and the back/forward
 * cache is on, both of which playwright turns off.
 */
export async function launchProfile({ cookies }: ProfileOptions): Promise<BrowserContext> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-profile-'))
  const profile = {
    ...(cookies === 'no-third-party' && { block_third_party_cookies: true, cookie_controls_mode: 1 }),
    ...(cookies === 'blocked-on-localhost' && {
      content_settings: { exceptions: { cookies: { 'localhost,*': { setting: 2 } } } },
    }),
  }
  await mkdir(join(directory, 'Default'))
  await writeFile(join(directory, 'Default', 'Preferences'), JSON.stringify({ profile }))
  const context = await chromium.launchPersistentContext(directory, {
    ...launchOptions(),
    ignoreDefaultArgs: ['--disable-popup-blocking', '--disable-back-forward-cache'],
  })
  context.on('close', () => void rm(directory, { recursive: true, force: true, maxRetries: 20 }))
  return context
}
