/** Reads a Dockerfile and does its steps by hand: there is no Docker where the tests run. */
import { spawnSync } from 'node:child_process'
import { cp, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface Instruction {
  readonly name: string
  readonly value: string
}

/** One `FROM` and what follows it. */
export interface Stage {
  readonly base: string
  readonly name: string | undefined
  readonly instructions: readonly Instruction[]
}

/** The stages of a Dockerfile; continued lines are joined, comments dropped. */
export function parseDockerfile(text: string): Stage[] {
  const lines = text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
  const stages: { base: string; name: string | undefined; instructions: Instruction[] }[] = []
  for (const line of lines) {
    const [, name = '', value = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? []
    const from = name === 'FROM' ? /^(\S+)(?: AS (\S+))?$/.exec(value) : undefined
    if (from) stages.push({ base: from[1] ?? '', name: from[2], instructions: [] })
    else stages.at(-1)?.instructions.push({ name, value })
  }
  return stages
}

export function valuesOf(stage: Stage, name: string): string[] {
  return stage.instructions.filter((instruction) => instruction.name === name).map(({ value }) => value)
}

/** The arguments of `COPY`: from which stage, what, and where to. */
export function readCopy(value: string): { from: string | undefined; sources: string[]; target: string } {
  const words = value.split(' ')
  const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length)
  const paths = words.filter((word) => !word.startsWith('--'))
  return { from, sources: paths.slice(0, -1), target: paths.at(-1) ?? '' }
}

/**
 * Does WORKDIR, COPY and, where `runs`, RUN of a stage in a directory that stands for its root.
 *
 * @param origins where `COPY` without and with `--from` takes from: the context under '', other stages by name
 */
export async function perform(
  stage: Stage,
  root: string,
  origins: Readonly<Record<string, string>>,
  { runs }: { runs: boolean },
): Promise<void> {
  let workdir = root
  for (const { name, value } of stage.instructions) {
    if (name === 'WORKDIR') {
      workdir = join(root, value)
      await mkdir(workdir, { recursive: true })
    } else if (name === 'COPY') {
      const { from = '', sources, target } = readCopy(value)
      for (const source of sources) {
        const to = join(workdir, target.endsWith('/') ? join(target, source.split('/').at(-1) ?? '') : target)
        await mkdir(dirname(to), { recursive: true })
        await cp(join(origins[from] ?? '', source), to, { recursive: true })
      }
    } else if (name === 'RUN' && runs) {
      // The Node of the tests stands for that of the base image.
      const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` }
      const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', value], { cwd: workdir, env, encoding: 'utf8' })
      if (status !== 0) throw new Error(`RUN ${value}: exit code ${status}\n${stdout}${stderr}`)
    }
  }
}
