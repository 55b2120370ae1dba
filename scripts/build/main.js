#!/usr/bin/env node
// Starts the program that lies beside it. An ES module, as the package is; the program is CommonJS.
import { existsSync } from 'node:fs'
import { createRequire, enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// The image has one (scripts/compile-cache.mjs). Nothing is read from where others could write.
const directory = fileURLToPath(new URL('compile-cache', import.meta.url))
if (existsSync(directory)) enableCompileCache({ directory, portable: true })

createRequire(import.meta.url)('./sidegate.cjs')
