/** `npm run openapi`: writes docs/openapi.yaml anew. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DOCUMENT, openApiText } from './openapi/document.ts'

writeFileSync(join(new URL('..', import.meta.url).pathname, DOCUMENT), openApiText())
