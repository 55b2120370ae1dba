/** Kubernetes manifests of this repository, as far as tests look into them, and a check of their every field. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'

const root = new URL('../..', import.meta.url).pathname

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

export interface Container {
  readonly name: string
  readonly image: string
  readonly restartPolicy?: string
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } }
  readonly securityContext?: Readonly<Record<string, unknown>>
  readonly volumeMounts?: readonly {
    readonly name: string
    readonly mountPath: string
    readonly subPath?: string
    readonly readOnly?: boolean
  }[]
}

export interface PodSpec {
  readonly terminationGracePeriodSeconds: number
  readonly automountServiceAccountToken?: boolean
  readonly securityContext: Readonly<Record<string, unknown>>
  readonly topologySpreadConstraints?: readonly unknown[]
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly volumes: readonly {
    readonly name: string
    readonly configMap?: { readonly name: string }
    readonly secret?: { readonly secretName: string }
  }[]
}

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> }
  readonly data?: Readonly<Record<string, string>>
  readonly spec: {
    readonly replicas?: number
    readonly selector?: Readonly<Record<string, unknown>> & { readonly matchLabels?: Readonly<Record<string, string>> }
    readonly ports?: readonly { readonly name?: string; readonly port: number; readonly targetPort: string }[]
    readonly minReplicas?: number
    readonly minAvailable?: number
    readonly scaleTargetRef?: { readonly kind: string; readonly name: string }
    readonly podSelector?: { readonly matchLabels: Readonly<Record<string, string>> }
    readonly policyTypes?: readonly string[]
    readonly groups?: readonly unknown[]
    readonly rules?: readonly { readonly host: string }[]
    readonly endpoints?: readonly unknown[]
    readonly template: {
      readonly metadata: {
        readonly labels: Readonly<Record<string, string>>
        readonly annotations?: Readonly<Record<string, string>>
      }
      readonly spec: PodSpec
    }
  }
}

/** @throws where it is no YAML, or YAML with keys that are given twice */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors[0]) throw document.errors[0]
    const manifest: unknown = document.toJS()
    // Files of this repository; what is read of them is asserted by those who read it.
    return manifest === null ? [] : [manifest as Manifest]
  })
}

/** The manifest of a kind; the first where there are several. */
export function oneOf(manifests: readonly Manifest[], kind: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind)
  if (!found) throw new Error(`there is no ${kind}`)
  return found
}

/** The container called `sidegate`, wherever it stands in the pod. */
export function gatewayOf(pod: PodSpec): Container {
  const found = [...(pod.initContainers ?? []), ...pod.containers].find(({ name }) => name === 'sidegate')
  if (!found) throw new Error('there is no container sidegate')
  return found
}

/** Kubernetes' own API, as types made from its OpenAPI documents. The operator's kinds are not in it. */
const MODULES: Readonly<Record<string, string>> = {
  v1: 'core/v1',
  'apps/v1': 'apps/v1',
  'autoscaling/v2': 'autoscaling/v2',
  'policy/v1': 'policy/v1',
  'networking.k8s.io/v1': 'networking/v1',
}

/**
 * What the API of Kubernetes does not know, or has another type for: an unknown or misspelled field, a number as text.
 * The compiler looks at all of them at once, since to start it costs most.
 */
export function problemsOf(manifests: Readonly<Record<string, Manifest>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-manifests-'))
  try {
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
    const lines = Object.entries(manifests).flatMap(([name, manifest], index) => {
      const module = MODULES[manifest.apiVersion]
      if (module === undefined) return []
      return [
        `import type { ${manifest.kind} as Kind${index} } from 'kubernetes-types/${module}'`,
        `// ${name}`,
        `export const manifest${index}: Kind${index} = ${JSON.stringify(manifest, undefined, 1)}`,
      ]
    })
    writeFileSync(join(directory, 'manifests.ts'), `${lines.join('\n')}\n`)
    const compilerOptions = { noEmit: true, strict: true, module: 'esnext', moduleResolution: 'bundler', types: [] }
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    return spawnSync(process.execPath, [tsc, '-p', directory], { encoding: 'utf8' }).stdout
  } finally {
    rmSync(directory, { recursive: true })
  }
}
