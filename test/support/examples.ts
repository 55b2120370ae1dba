/** The examples of `docs/examples`, built as their developers would build them, but with the client of this checkout. */
import { fileURLToPath } from 'node:url'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import vue from '@vitejs/plugin-vue'
import { build, type InlineConfig, type Plugin } from 'vite'

const root = new URL('../../', import.meta.url)

/** Each framework, and what its compiler needs of Vite; React's JSX and TypeScript need nothing. */
export const frameworks = {
  react: () => [],
  vue: () => [vue()],
  // Its warnings are about HTML that people write, and ours has none.
  svelte: () => [svelte({ configFile: false })],
  angular: () => [justInTime],
} as const satisfies Record<string, () => unknown[]>

export type Framework = keyof typeof frameworks

/**
 * Angular's ahead-of-time compiler drives the JavaScript API of TypeScript, which version 7 does not have. Its
 * compiler in the browser reads the same decorators and templates.
 */
const justInTime: Plugin = {
  name: 'angular-just-in-time',
  transform: (code, id) => (id.endsWith('/angular/app.ts') ? `import '@angular/compiler'\n${code}` : null),
}

/** For a development server and for a build alike. */
export function viteConfig(framework: Framework): InlineConfig {
  return {
    configFile: false,
    logLevel: 'warn',
    root: fileURLToPath(new URL(`docs/examples/${framework}`, root)),
    resolve: { alias: { 'sidegate/browser': fileURLToPath(new URL('src/browser/client.ts', root)) } },
    plugins: [frameworks[framework]()],
  }
}

/** Builds into this directory, to be served at `/{framework}/`. */
export async function buildExample(framework: Framework, outDir: string): Promise<void> {
  const config = viteConfig(framework)
  await build({ ...config, base: `/${framework}/`, build: { outDir, emptyOutDir: true, chunkSizeWarningLimit: 2_000 } })
}
