import { defineConfig } from 'vitest/config'

// Two cores are the measure. Unit tests share them; integration files each start servers of their own and run two at a
// time; a browser needs the machine for itself. The groups run one after the other.
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    sequence: { shuffle: true },
    // A test that passes at the second try is a failing test.
    retry: 0,
    // `npm run coverage`. What runs in child processes and in browsers is not counted.
    coverage: { include: ['src/**/*.ts'], exclude: ['src/**/*.d.ts', 'src/browser/**'], reporter: ['text', 'html'] },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          maxWorkers: 2,
          // Properties try hundreds of inputs, and a machine may be busy with other things.
          testTimeout: 45_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          maxWorkers: 2,
          testTimeout: 45_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          // Resolved as the tests resolve it: two copies of `graphql` refuse each other.
          server: { deps: { inline: ['graphql-ws'] } },
          include: ['test/e2e/**/*.test.ts'],
          maxWorkers: 1,
          testTimeout: 90_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
