/** The browser client as the gateway serves it: built in `dist`, stripped of its types where the source runs. */
import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'

export async function loadClientModule(): Promise<string> {
  const isSource = import.meta.url.endsWith('.ts')
  const text = await readFile(new URL(`../browser/client.${isSource ? 'ts' : 'js'}`, import.meta.url), 'utf8')
  return compact(isSource ? withoutTypes(text) : text)
}

/** Without the lines that only people read: every page of the application loads the rest. */
function compact(text: string): string {
  return text.replace(/^\s*(\/\*\*.*\*\/|\/\/.*)?\s*$\n?/gm, '').replace(/[ \t]+$/gm, '')
}

/** Node's own stripping, as it did with this very file; its warning about the name of the API helps nobody here. */
function withoutTypes(text: string): string {
  const emitWarning = process.emitWarning.bind(process)
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(text)
  } finally {
    process.emitWarning = emitWarning
  }
}
