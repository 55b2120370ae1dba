/**
 * A connection whose request was refused for overload rests before it is read again.
 *
 * The answer leaves at once. But a client that asks again as soon as it has it, and there may be thousands, would keep
 * the event loop reading requests: it goes on from one full batch of events to the next, and what waits for its other
 * phases, such as a connection to an upstream that is to be used again, waits for seconds. The more connections rest,
 * the longer each does, so that refusals take a bounded share of the time however many ask.
 */
import { Socket } from 'node:net'

const SHORTEST_MS = 50
/** `Retry-After` asks for a second. */
const LONGEST_MS = 2_000
/** However many rest, they make two thousand refusals a second; from four thousand on a few more. */
const MS_EACH = 0.5

const resting = new Set<Socket>()

/** Reads no more of it for a while. Does nothing for one that rests already. */
export function letRest(socket: Socket): void {
  // Fastify's `inject` has something else in the place of a socket, and nothing more to read.
  if (!(socket instanceof Socket) || socket.destroyed || resting.has(socket)) return
  resting.add(socket)
  // Not at once: Node's parser goes on reading when it comes to the end of the request.
  process.nextTick(pause, socket)
  const forMs = Math.min(LONGEST_MS, SHORTEST_MS + resting.size * MS_EACH)
  setTimeout(wake, forMs, socket).unref()
}

function pause(socket: Socket): void {
  socket.pause()
}

function wake(socket: Socket): void {
  resting.delete(socket)
  socket.resume()
}
