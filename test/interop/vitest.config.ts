import { defineConfig } from 'vitest/config'

// `npm run test:interop`: each file starts an authorization server of Debian's. No part of `npm test`.
export default defineConfig({
  test: {
    name: 'interop',
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/interop/**/*.test.ts'],
    maxWorkers: 1,
    retry: 0,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
