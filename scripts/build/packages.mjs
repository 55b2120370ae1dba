import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The packages of which there is something in the files that the bundler wrote: name, version, licence, directory. */
export function bundledPackages(output) {
  const directories = new Set()
  for (const chunk of output) {
    for (const id of Object.keys(chunk.modules ?? {})) {
      const [directory] = /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(id) ?? []
      if (directory !== undefined) directories.add(directory)
    }
  }
  const packages = [...directories].map((directory) => {
    const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
    return { name, version, license, directory }
  })
  return packages.toSorted((a, b) => (a.name + a.version < b.name + b.version ? -1 : 1))
}

export function packageList(packages) {
  return `${JSON.stringify(
    packages.map(({ name, version }) => ({ name, version })),
    null,
    2,
  )}\n`
}

/** Whoever passes a library on passes its licence on. */
export function licenceTexts(packages) {
  const texts = packages.map((each) => `${each.name} ${each.version}\n\n${licenceText(each)}\n`)
  return `Sidegate contains these libraries.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`
}

function licenceText({ directory, name, license }) {
  const files = readdirSync(directory).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
  const texts = files.toSorted().map((file) => readFileSync(join(directory, file), 'utf8').trim())
  if (texts.length > 0) return texts.join('\n\n')
  if (typeof license !== 'string') throw new Error(`${name} has no licence`)
  return `${license} (the package has no file with the text)`
}
