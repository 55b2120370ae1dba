/** What a table says of one operation, and what OpenAPI 3.1 makes of it. */
import { z } from 'zod'
import type { FailureCode } from '../../src/errors.ts'
import { type FailureKind, failureResponses } from './failures.ts'

/** A part of an OpenAPI document. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }

/** An answer that is no failure. */
export interface Answer {
  readonly description: string
  /** By media type: the name of a schema among the components, or none for what is no JSON. */
  readonly content?: Readonly<Record<string, string | undefined>>
  /** Those that are always there: names, each of them a component's, or another one that is described there. */
  readonly headers?: readonly (string | readonly [name: string, component: string])[]
}

/** A query parameter, by its name. */
export interface Parameter {
  readonly description: string
  readonly schema?: z.ZodType
  readonly required?: boolean
}

export interface Operation {
  readonly summary: string
  readonly description?: string
  readonly query?: Readonly<Record<string, Parameter>>
  /** Request fields, by their names. */
  readonly fields?: Readonly<Record<string, Parameter>>
  /** The members of a form (`application/x-www-form-urlencoded`) that is posted. */
  readonly form?: Readonly<Record<string, Parameter>>
  readonly answers: Readonly<Record<number, Answer>>
  /** Beyond those that its listener or its policy brings. */
  readonly failures?: readonly FailureCode[]
}

/** What is the same for many operations, or comes from another table. */
export interface OperationContext {
  readonly operationId: string
  readonly tag: string
  readonly security: readonly Json[]
  readonly failures: ReadonlySet<FailureCode>
  readonly failureKind: FailureKind
  /** Header fields of every answer that is no failure. */
  readonly headers?: Answer['headers']
  readonly pathParameters?: readonly Json[]
}

/** The members that are read again here. */
export interface OperationObject {
  readonly operationId: string
  readonly summary: string
  readonly responses: Readonly<Record<string, Json>>
  readonly [name: string]: Json
}

/** The operation object (OpenAPI 3.1 §4.8.10). */
export function operationObject(operation: Operation, context: OperationContext): OperationObject {
  const { summary, description, query = {}, fields = {}, form, answers, failures = [] } = operation
  const parameters = [
    ...(context.pathParameters ?? []),
    ...Object.entries(query).map(([name, one]) => parameterObject('query', name, one)),
    ...Object.entries(fields).map(([name, one]) => parameterObject('header', name, one)),
  ]
  const responses = Object.entries(answers).map(([status, answer]): [string, Json] => [
    status,
    responseObject(answer, context.headers ?? []),
  ])
  return {
    operationId: context.operationId,
    tags: [context.tag],
    summary,
    ...(description !== undefined && { description }),
    security: context.security,
    ...(parameters.length > 0 && { parameters }),
    ...(form && { requestBody: formObject(form) }),
    responses: {
      ...Object.fromEntries(responses),
      ...failureResponses(new Set([...context.failures, ...failures]), context.failureKind),
    },
  }
}

/** The same operation asked for by HEAD: the fields, and nothing behind them. */
export function headObject(get: OperationObject): OperationObject {
  return {
    ...get,
    operationId: `${get.operationId}_head`,
    summary: `The header fields of \`GET\`: ${get.summary}`,
    responses: Object.fromEntries(
      Object.entries(get.responses).map(([status, response]) => {
        const { content: _, ...head } = response as Record<string, Json>
        return [status, head]
      }),
    ),
  }
}

/** zod's JSON Schema (2020-12, as OpenAPI 3.1 takes it). */
export function schemaObject(type: z.ZodType): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io: 'output' })
  return JSON.parse(JSON.stringify(schema)) as Json // without what only its types have
}

function parameterObject(where: string, name: string, { description, schema, required }: Parameter): Json {
  return {
    name,
    in: where,
    description,
    ...(required && { required }),
    schema: schema ? schemaObject(schema) : { type: 'string' },
  }
}

function responseObject({ description, content, headers = [] }: Answer, common: NonNullable<Answer['headers']>): Json {
  const names = [...common, ...headers].map((one) => (typeof one === 'string' ? ([one, one] as const) : one))
  return {
    description,
    ...(names.length > 0 && {
      headers: Object.fromEntries(
        names.map(([name, component]) => [name, { $ref: `#/components/headers/${component}` }]),
      ),
    }),
    ...(content && {
      content: Object.fromEntries(
        Object.entries(content).map(([type, schema]): [string, Json] => [
          type,
          schema === undefined ? {} : { schema: { $ref: `#/components/schemas/${schema}` } },
        ]),
      ),
    }),
  }
}

function formObject(form: Readonly<Record<string, Parameter>>): Json {
  const members = Object.entries(form)
  const required = members.filter(([, { required }]) => required).map(([name]) => name)
  return {
    required: true,
    content: {
      'application/x-www-form-urlencoded': {
        schema: {
          type: 'object',
          properties: Object.fromEntries(
            members.map(([name, { description }]) => [name, { type: 'string', description }]),
          ),
          ...(required.length > 0 && { required }),
        },
      },
    },
  }
}
