import type { DestinationStream } from 'pino'

/**
 * Where the logger writes so that people can read it: one line each, on stdout unless `destination` is given.
 * The printer is loaded where it is used: a gateway that logs JSON does not pay for it.
 */
export async function prettyLines(destination?: DestinationStream): Promise<DestinationStream> {
  const { build } = await import('pino-pretty')
  // pino-pretty asks for a whole Writable in its types and calls `write` only.
  const target = destination as NodeJS.WritableStream | undefined
  return build({
    colorize: destination === undefined && process.stdout.isTTY && process.stdout.hasColors(),
    sync: true,
    translateTime: 'SYS:HH:MM:ss.l',
    ...(target ? { destination: target } : { destination: 1 }),
  })
}
