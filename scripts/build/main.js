#!/usr/bin/env node
// Starts the program that lies beside it. An ES module, as the package is; the program is CommonJS.
import { createRequire } from 'node:module'

createRequire(import.meta.url)('./sidegate.cjs')
