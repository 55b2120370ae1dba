import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below the ports that the system gives to whoever asks for any: nobody else in these tests gets one of these. */
const LOWEST = 15_000
const HIGHEST = 32_000

/** A port that was free a moment ago, for what has to know its address before it listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST, HIGHEST)
    const server = createServer()
    const listens = once(server, 'listening').then(
      () => true,
      () => false, // somebody has it: another one
    )
    server.listen(port, '127.0.0.1')
    if (!(await listens)) continue
    server.close()
    await once(server, 'close')
    return port
  }
}
