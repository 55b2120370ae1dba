/** The chart's schema of its values, which holds the configuration's own for `config`: one source for both. */

/** `values.schema.json` with the present schema of the configuration in it. */
export function withConfigSchema(valuesSchema: string, configSchema: string): string {
  const values: unknown = JSON.parse(valuesSchema)
  const config: unknown = JSON.parse(configSchema)
  if (!isRecord(values) || !isRecord(config) || !isRecord(values['properties'])) throw new Error('no JSON Schema')
  const { $schema: _, ...rest } = config
  values['properties']['config'] = rest
  return `${JSON.stringify(values, undefined, 2)}\n`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
