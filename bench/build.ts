/** The program as `npm run build` makes it, where nobody else builds. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Returns the path of its `main.js`. */
export function build(directory: string): string {
  const script = new URL('../scripts/build.mjs', import.meta.url).pathname
  execFileSync(process.execPath, [script, join(directory, 'built/dist')])
  return join(directory, 'built/dist/main.js')
}
