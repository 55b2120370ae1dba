/** How the cost of an authenticated GET grows: with routes, with sessions, with the size of the answer. */
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BROWSER_FIELDS } from '../browser-fields.ts'
import { COMPARISON_COLUMNS, comparisonRow } from '../comparison.ts'
import { freePort } from '../../test/support/free-port.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { interleave, type System } from '../interleaved.ts'
import type { Report } from '../report.ts'
import type { Settings } from '../settings.ts'
import { startUpstream } from '../upstream.ts'

const MANY_ROUTES = 500
const MANY_SESSIONS = 2_000
const SIZES = [16, 64, 256]

export async function growth(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const { directory } = settings
  // nginx reads the files as somebody else.
  await chmod(directory, 0o711)
  for (const size of SIZES) await writeFile(join(directory, `${size}k`), 'x'.repeat(size * 1_024))
  const upstreamPort = await freePort()
  stack.use(await startUpstream(directory, upstreamPort))

  const upstream = `http://127.0.0.1:${upstreamPort}`
  const few = { directory, upstreamPort, sessions: 64 }
  const base = stack.use(await startGateway({ ...few, name: 'base' }))
  const routes = Array.from({ length: MANY_ROUTES }, (_, at) => ({ path: `/api/part-${at}/of/it`, upstream }))
  const routed = stack.use(
    await startGateway({ ...few, name: 'routes', config: { routes: [...routes, { path: '/api', upstream }] } }),
  )
  settings.progress(`${MANY_SESSIONS} sign-ins`)
  const crowded = stack.use(await startGateway({ ...few, name: 'sessions', sessions: MANY_SESSIONS }))

  const through = (name: string, { part, url, cookies }: Gateway, path = '/api/items'): System => {
    return { name, part, url: url.replace('localhost', '127.0.0.1') + path, headers: BROWSER_FIELDS, cookies }
  }
  const systems = [
    through('1 kB, one route, 64 sessions', base),
    through(`${MANY_ROUTES} routes more`, routed),
    through(`${MANY_SESSIONS} sessions`, crowded),
    ...SIZES.map((size) => through(`${size} kB`, base, `/api/file/${size}k`)),
  ]
  const measured = await interleave(systems, settings, settings.progress)
  const { rounds, seconds, connections } = settings
  return {
    scenario: 'growth',
    title: `What grows with what: ${rounds} rounds of ${seconds} s, ${connections} connections; ratios against the first row, paired by round`,
    columns: COMPARISON_COLUMNS.slice(0, -1),
    rows: measured.map((one) => comparisonRow(one).slice(0, -1)),
    data: measured,
  }
}
