/** scripts/with-node.mjs: every command works where only an old Node is on the PATH. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'

const root = new URL('../..', import.meta.url).pathname
/** Makes a Node say that it is an old one, before the launcher looks. */
const PRETEND_OLD = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.11.0'}})`

interface Launched {
  child: ChildProcess
  /** The next line on stdout. */
  line: () => Promise<string>
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>
}

interface World {
  directory: string
  /** How often npx was asked. */
  asked(): Promise<number>
  launch(script: string, options?: { old?: boolean; args?: string[]; env?: NodeJS.ProcessEnv }): Promise<Launched>
}

/** A checkout with the launcher and an npx that answers with `answer`. */
async function checkout(answer = `echo "${process.versions.node} ${process.execPath}"`): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-with-node-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  await mkdir(join(directory, 'scripts'))
  await mkdir(join(directory, 'bin'))
  await cp(join(root, 'scripts/with-node.mjs'), join(directory, 'scripts/with-node.mjs'))
  await writeFile(join(directory, 'bin/npx'), `#!/bin/sh\necho asked >> "${directory}/asked"\n${answer}\n`)
  await chmod(join(directory, 'bin/npx'), 0o755)
  return {
    directory,
    asked: async () => (await readFile(join(directory, 'asked'), 'utf8').catch(() => '')).split('\n').length - 1,
    launch: async (script, { old = true, args = [], env = {} } = {}) => {
      await writeFile(join(directory, 'script.mjs'), script)
      const { npm_lifecycle_event: _, ...inherited } = process.env
      return launched(
        [
          ...(old ? ['--import', PRETEND_OLD] : []),
          join(directory, 'scripts/with-node.mjs'),
          join(directory, 'script.mjs'),
          ...args,
        ],
        {
          ...inherited,
          PATH: `${directory}/bin:${process.env.PATH}`,
          ...env,
        },
      )
    },
  }
}

function launched(args: string[], env: NodeJS.ProcessEnv): Launched {
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const output = { stdout: '', stderr: '' }
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()))
  const lines: string[] = []
  const arrivals = createInterface(child.stdout).on('line', (line) => {
    output.stdout += `${line}\n`
    lines.push(line)
  })
  return {
    child,
    line: async () => {
      if (lines.length === 0) await once(arrivals, 'line')
      return lines.shift() ?? ''
    },
    ended: once(child, 'close').then(([code, signal]: (number | NodeJS.Signals | null)[]) => ({
      code: code as number | null, // of the `close` event, documented by Node
      signal: signal as NodeJS.Signals | null,
      ...output,
    })),
  }
}

const WAITING = `process.on('SIGTERM', () => { console.log('told to stop'); process.exit(7) })\nconsole.log(process.pid)\nsetInterval(() => {}, 1000)`

test('a Node that fits runs the script itself, with its arguments, and npx is not asked', async () => {
  const world = await checkout()

  const { ended } = await world.launch('console.log(process.argv.slice(2).join())', { old: false, args: ['a', '--b'] })

  expect(await ended).toMatchObject({ code: 0, stdout: 'a,--b\n', stderr: '' })
  expect(await world.asked()).toBe(0)
})

test('an old Node says so in one line and runs the script under the Node that npx brings, which is asked for once', async () => {
  const world = await checkout()

  const first = await (await world.launch('console.log(process.versions.node)')).ended
  const second = await (await world.launch('console.log(process.versions.node)')).ended

  expect(first.stdout).toBe(`${process.versions.node}\n`)
  expect(first.stderr).toBe('with-node: this is Node 20.11.0; running under Node 24 by npx\n')
  expect(second.stdout).toBe(first.stdout)
  expect(await world.asked()).toBe(1)
})

test('a remembered Node that has gone is asked for again', async () => {
  const world = await checkout()
  await mkdir(join(world.directory, 'node_modules/.cache'), { recursive: true })
  await writeFile(join(world.directory, 'node_modules/.cache/sidegate-node'), '24.0.0 /nowhere/node\n')

  const { stdout } = await (await world.launch('console.log("ran")')).ended

  expect(stdout).toBe('ran\n')
  expect(await world.asked()).toBe(1)
})

test('an npx that brings an old Node ends in one line and exit code 1, not in a circle', async () => {
  const world = await checkout(`echo "20.11.0 ${process.execPath}"`)

  const { code, stdout, stderr } = await (await world.launch('console.log("ran")')).ended

  expect(code).toBe(1)
  expect(stdout).toBe('')
  expect(stderr).toContain('asked for Node 24 and got 20.11.0; install Node 24')
  expect(await world.asked()).toBe(1)
})

test('an npx that fails is quoted, with what to install', async () => {
  const world = await checkout('echo "npm error network unreachable" >&2; exit 1')

  const { code, stderr } = await (await world.launch('console.log("ran")')).ended

  expect(code).toBe(1)
  expect(stderr).toContain('npx could not bring Node 24 (npm error network unreachable); install Node 24')
})

test('exit codes come through', async () => {
  const world = await checkout()

  const { code } = await (await world.launch('process.exit(23)')).ended

  expect(code).toBe(23)
})

test.each([true, false])('SIGTERM reaches the script, and its exit code comes back (old Node: %s)', async (old) => {
  const world = await checkout()
  const { child, line, ended } = await world.launch(WAITING, { old })
  await line()

  child.kill('SIGTERM')

  expect(await ended).toMatchObject({ code: 7, signal: null })
})

test('a script that dies of a signal takes the launcher with it by the same signal', async () => {
  const world = await checkout()

  const { signal } = await (
    await world.launch('process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000)')
  ).ended

  expect(signal).toBe('SIGTERM')
})

test('a script that npm started and left behind is told to stop', async () => {
  const world = await checkout()
  await writeFile(join(world.directory, 'script.mjs'), WAITING)
  const shell = spawn('/bin/sh', ['-c', `"${process.execPath}" scripts/with-node.mjs script.mjs; true`], {
    cwd: world.directory,
    env: { ...process.env, npm_lifecycle_event: 'sidegate' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface(shell.stdout)
  await once(lines, 'line')

  shell.kill('SIGKILL')

  expect(await once(lines, 'line')).toEqual(['told to stop'])
})

test('SIGTERM to `npm run sidegate` reaches the command, and npm waits for its end and has its exit code', async () => {
  const world = await checkout()
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  const script = scripts['sidegate']?.replace('src/main.ts', 'script.mjs')
  await writeFile(join(world.directory, 'package.json'), JSON.stringify({ scripts: { sidegate: script } }))
  await writeFile(join(world.directory, 'script.mjs'), WAITING)
  // Of this run's npm, where `npm test` started it, nothing may be left: it would be taken for our own.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
  const npm = spawn('npm', ['run', '-s', 'sidegate'], {
    cwd: world.directory,
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  onTestFinished(() => void npm.kill('SIGKILL'))
  await once(createInterface(npm.stdout), 'line')

  npm.kill('SIGTERM')

  expect((await once(npm, 'close'))[0]).toBe(7)
})
