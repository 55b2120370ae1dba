/** The demo as `npm run demo` starts it, in a process of its own on free ports. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { freePort } from './free-port.ts'

const root = new URL('../..', import.meta.url).pathname

export interface Demo {
  readonly url: string
  readonly issuer: string
  /** Everything printed so far. */
  readonly output: () => string
  readonly exited: Promise<number | null>
  readonly kill: (signal: NodeJS.Signals) => void
  /** Resolves once it has said that it can be opened. */
  readonly ready: () => Promise<void>
}

/** Kill it when the test is over. */
export async function startDemo(ports: Record<string, number> = {}): Promise<Demo> {
  const env: NodeJS.ProcessEnv = { ...process.env }
  for (const name of ['PORT', 'MANAGEMENT_PORT', 'PROVIDER_PORT', 'API_PORT']) {
    env[`SIDEGATE_DEMO_${name}`] = String(ports[name] ?? (await freePort()))
  }
  const child = spawn(process.execPath, ['scripts/with-node.mjs', 'src/main.ts', 'demo'], { cwd: root, env })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  const exited = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null)

  const ready = async (): Promise<void> => {
    while (!output.includes('Open ')) {
      const ended = await Promise.race([once(child.stdout, 'data'), exited.then(() => 'ended')])
      if (ended === 'ended') throw new Error(`the demo has ended: ${output}`)
    }
  }
  return {
    url: `http://localhost:${env['SIDEGATE_DEMO_PORT']}`,
    issuer: `http://127.0.0.1:${env['SIDEGATE_DEMO_PROVIDER_PORT']}`,
    output: () => output,
    exited,
    kill: (signal) => void child.kill(signal),
    ready,
  }
}
