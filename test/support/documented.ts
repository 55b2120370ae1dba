/** Holds answers against `docs/openapi.yaml`: what it does not have is an error, what it has and nobody saw is counted. */
import { readFileSync } from 'node:fs'
import addFormats from 'ajv-formats'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { DOCUMENT } from '../../scripts/openapi/document.ts'

interface Described {
  readonly $ref?: string
  readonly headers?: Readonly<Record<string, { readonly $ref?: string }>>
  readonly content?: Readonly<Record<string, { readonly schema?: object }>>
}

type Operations = Readonly<Record<string, { readonly responses: Readonly<Record<string, Described>> }>>

/** One answer, from whatever client. */
export interface SeenAnswer {
  readonly method: string
  /** The request target; its query is not looked at. */
  readonly target: string
  readonly status: number
  /** Values by name in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Left out where the client did not keep it. */
  readonly body?: string
}

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options']

export class DocumentedAnswers {
  readonly #document = parse(readFileSync(new URL(`../../${DOCUMENT}`, import.meta.url), 'utf8')) as {
    readonly paths: Readonly<Record<string, Operations>>
  }
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false })
  readonly #validators = new Map<string, ValidateFunction>()
  readonly #seen = new Set<string>()

  constructor() {
    // The package is CommonJS and types itself as a module: its default is under `default`.
    const add = addFormats as unknown as { default?: (ajv: Ajv2020) => void } & ((ajv: Ajv2020) => void)
    ;(add.default ?? add)(this.#ajv)
    this.#ajv.addSchema(this.#document, 'openapi')
  }

  /** Every path and method that the document has, and every one that it has not. */
  operations(prefix: string): { path: string; method: string; isDocumented: boolean }[] {
    return Object.entries(this.#document.paths)
      .filter(([path]) => path.startsWith(prefix))
      .flatMap(([path, item]) => METHODS.map((method) => ({ path, method, isDocumented: method in item })))
  }

  /** What is wrong with an answer, in words; empty for one that is as documented. */
  faults({ method, target, status, headers, body }: SeenAnswer): string[] {
    const path = this.#pathOf(target)
    const at = `${method.toLowerCase()} ${path ?? target} ${status}`
    const response =
      path === undefined ? undefined : this.#document.paths[path]?.[method.toLowerCase()]?.responses[status]
    if (!response || path === undefined) return [`${at}: is not documented`]
    this.#seen.add(at)
    const pointer = response.$ref ?? `#/paths/${escaped(path)}/${method.toLowerCase()}/responses/${status}`
    const described = this.#at(pointer) as Described
    return [
      ...this.#headerFaults(pointer, described, headers),
      ...this.#bodyFaults(pointer, described, { method, headers, ...(body !== undefined && { body }) }),
    ].map((fault) => `${at}: ${fault}`)
  }

  /** What is wrong with a value by a schema among the components. */
  schemaFaults(name: string, value: unknown): string[] {
    return this.#schemaFaults(`#/components/schemas/${name}`, value)
  }

  /** Documented answers that have not been seen, with the component that describes each. */
  unseen(): { answer: string; component: string | undefined }[] {
    return Object.entries(this.#document.paths).flatMap(([path, item]) =>
      Object.entries(item)
        .filter(([method]) => METHODS.includes(method))
        .flatMap(([method, { responses }]) =>
          Object.entries(responses).map(([status, { $ref }]) => ({
            answer: `${method} ${path} ${status}`,
            component: $ref?.split('/').at(-1),
          })),
        )
        .filter(({ answer }) => !this.#seen.has(answer)),
    )
  }

  #pathOf(target: string): string | undefined {
    const path = target.replace(/^http:\/\/[^/]*|[?#].*$/g, '')
    if (path in this.#document.paths) return path
    return /^\/bff\/sessions\/[^/]+$/.test(path) ? '/bff/sessions/{ref}' : undefined
  }

  #headerFaults(pointer: string, { headers = {} }: Described, seen: SeenAnswer['headers']): string[] {
    return Object.entries(headers).flatMap(([name, { $ref }]) => {
      const value = seen[name.toLowerCase()]
      if (value === undefined) return [`has no ${name}`]
      const header = $ref ?? `${pointer}/headers/${escaped(name)}`
      return this.#schemaFaults(`${header}/schema`, value).map((fault) => `${name} ${fault}`)
    })
  }

  #bodyFaults(
    pointer: string,
    { content }: Described,
    { method, headers, body }: Pick<SeenAnswer, 'method' | 'headers' | 'body'>,
  ): string[] {
    if (method === 'HEAD' || body === undefined) return []
    if (!content) return body === '' ? [] : ['has a body, and none is documented']
    const type = headers['content-type']?.split(';', 1)[0] ?? ''
    const described = content[type]
    if (!described) return [`is of type ${type}`]
    if (described.schema === undefined) return []
    return this.#schemaFaults(`${pointer}/content/${escaped(type)}/schema`, JSON.parse(body))
  }

  #schemaFaults(pointer: string, value: unknown): string[] {
    let validate = this.#validators.get(pointer)
    if (!validate) {
      validate = this.#ajv.compile({ $ref: `openapi${pointer}` })
      this.#validators.set(pointer, validate)
    }
    if (validate(value)) return []
    return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
  }

  #at(pointer: string): unknown {
    let value: unknown = this.#document
    for (const name of decodeURIComponent(pointer).slice(2).split('/')) {
      // Of a document that a unit test has found to be whole.
      value = (value as Record<string, unknown>)[name.replaceAll('~1', '/').replaceAll('~0', '~')]
    }
    return value
  }
}

function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')
}
