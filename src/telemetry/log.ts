/** What the domain layers need of a logger; pino and Fastify's loggers fit it as they are. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Takes everything, keeps nothing: for commands and tests that log nowhere. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }
