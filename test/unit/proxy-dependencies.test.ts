/** Versions below which a published hole is open: a transitive downgrade is silent. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version: string }>>
}

const lock = JSON.parse(readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8')) as Lock // npm wrote it

const dockerfile = readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')

function isAtLeast(version: string, floor: string): boolean {
  const [have = [], need = []] = [version, floor].map((text) => text.split('.').map(Number))
  for (const [at, part] of need.entries()) if (have[at] !== part) return (have[at] ?? 0) > part
  return true
}

describe('no copy in the tree is older than the fix', () => {
  test.each([
    ['@fastify/http-proxy', '11.6.3', 'CVE-2026-85124: backslash dot segments leave the prefix'],
    ['@fastify/reply-from', '12.6.5', 'CVE-2026-16158: colliding cache keys choose the wrong upstream'],
    ['fastify', '5.12.5', 'CVE-2026-76169: hooks are skipped for malformed URLs'],
    ['find-my-way', '9.10.0', 'CVE-2026-47219, and how an absolute form is parsed'],
    ['undici', '7.29.0', 'GHSA-35p6-xmwp-9g52: poisoned response queue'],
    ['ws', '8.21.0', 'exhausted memory by fragments'],
  ])('%s is %s or newer (%s)', (name, floor) => {
    const versions = Object.entries(lock.packages)
      .filter(([path]) => path === `node_modules/${name}` || path.endsWith(`/node_modules/${name}`))
      .map(([, { version }]) => version)

    expect(versions.length).toBeGreaterThan(0)
    for (const version of versions) expect(isAtLeast(version, floor), version).toBe(true)
  })

  test('nor is Node, whose parser and agents are part of it (CVE-2026-21710, CVE-2026-48931); the image follows its line', () => {
    expect(isAtLeast(process.versions.node, '24.14.1'), process.version).toBe(true)
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base)
    expect(bases.length).toBeGreaterThan(0)
    for (const base of bases) expect(base).toMatch(/^node:24-/)
  })
})
