/** A unix socket that a process left behind when it was killed would keep the next one from its address. */
import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'

/** Takes such a socket away: a file of that kind at which nobody listens. Anything else is left to fail at `listen`. */
export async function clearStaleSocket(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => undefined)
  if (!stat?.isSocket() || (await isListening(path))) return
  await unlink(path)
}

async function isListening(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    // Whatever else it is, it is not for sure that nobody is there.
    return !(error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED')
  } finally {
    socket.destroy()
  }
}
