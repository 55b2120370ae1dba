/** `npm run conformance`: writes docs/conformance.md anew. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { conformancePage, PAGE } from './conformance/page.ts'

const root = new URL('..', import.meta.url).pathname
writeFileSync(join(root, PAGE), conformancePage(root))
