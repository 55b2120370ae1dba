/** `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$` in one scalar value. */

/** Either the text with what it was made of, or what is wrong with it. */
export type Interpolated =
  | { readonly text: string; readonly names: readonly string[]; readonly defaulted: boolean }
  | { readonly problem: string }

const TOKEN = /\$(?:\$|\{([^}]*)\}?)/g
const REFERENCE = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:[-?])([^]*))?$/

/**
 * Runs after YAML is parsed, so that a value from the environment is text and nothing else: it cannot add keys.
 * As in a shell, `:-` and `:?` take an empty variable for an unset one. A `$` that begins none of these stays.
 */
export function interpolate(source: string, env: Readonly<Record<string, string | undefined>>): Interpolated {
  const names: string[] = []
  let defaulted = false
  let problem: string | undefined
  const text = source.replaceAll(TOKEN, (token, body: string | undefined) => {
    if (token === '$$') return '$'
    if (body?.includes('${')) {
      problem ??= 'within ${ } there can be no further ${ }'
      return ''
    }
    const [, name, operator, rest = ''] = (token.endsWith('}') && REFERENCE.exec(body ?? '')) || []
    if (name === undefined) {
      problem ??= 'expected ${NAME}, ${NAME:-default} or ${NAME:?message}; a plain $ before { is written $$'
      return ''
    }
    const value = env[name]
    if (value !== undefined && (operator === undefined || value !== '')) {
      names.push(name)
      return value
    }
    if (operator === ':-') {
      defaulted = true
      return rest
    }
    problem ??=
      operator === ':?' && rest !== ''
        ? `environment variable ${name}: ${rest}`
        : `environment variable ${name} is not set; set it, or write \${${name}:-default}`
    return ''
  })
  return problem === undefined ? { text, names, defaulted } : { problem }
}
