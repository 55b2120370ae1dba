/** Reads the CPU profiles that `--profile` leaves and names the hottest functions. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { functionName: string; url: string; lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** For each system that left a profile: a line for each of its ten functions with the most time of their own. */
export async function hottest(directory: string): Promise<string[]> {
  const lines: string[] = []
  for (const system of await readdir(directory)) {
    for (const file of (await readdir(join(directory, system))).filter((name) => name.endsWith('.cpuprofile'))) {
      // V8's own format: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile
      const profile = JSON.parse(await readFile(join(directory, system, file), 'utf8')) as Profile
      lines.push(`${system}: ${join(directory, system, file)}`, ...rank(profile), '')
    }
  }
  return lines
}

function rank({ nodes, samples, timeDeltas }: Profile): string[] {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const place = url.replace(/^.*\/(node_modules|src)\//, '')
      return [id, place ? `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}` : functionName]
    }),
  )
  const own = new Map<string, number>()
  let busy = 0
  samples.forEach((id, index) => {
    const name = names.get(id) ?? ''
    if (name === '(idle)' || name === '(root)') return
    const time = timeDeltas[index] ?? 0
    busy += time
    own.set(name, (own.get(name) ?? 0) + time)
  })
  return [...own]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, 10)
    .map(([name, time]) => `  ${((100 * time) / busy).toFixed(1).padStart(5)} %  ${name}`)
}
