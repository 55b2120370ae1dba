/** The chart: its values are judged by its schema here, and its templates by what Helm has made of them (`npm run chart`). */
import { readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { ask, cases, digestOf, isRefused, rendering } from '../../scripts/chart/rendering.ts'
import { withConfigSchema } from '../../scripts/chart/values-schema.ts'
import { findProgram } from '../../scripts/test-tools.mjs'
import { blockOf } from '../support/documents.ts'
import { gatewayOf, oneOf, parseManifests } from '../support/manifests.ts'
import type { Manifest } from '../support/manifests.ts'
import { loadMounted } from '../support/mounted-config.ts'

const root = new URL('../..', import.meta.url).pathname
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const version = (JSON.parse(read('package.json')) as { version: string }).version // npm's own file
const helm = findProgram(['helm'])
const rendered = cases(root).filter((name) => !isRefused(name))
const manifestsOf = (name: string) => parseManifests(rendering(root, name))

type Values = Readonly<Record<string, unknown>>

describe('values.schema.json', () => {
  const text = read('deploy/helm/sidegate/values.schema.json')
  const takes = new Ajv({ strict: false, allErrors: true }).compile(JSON.parse(text) as object) // its own schema says so
  const defaults = parse(read('deploy/helm/sidegate/values.yaml')) as Values // judged below

  /** As Helm lays given values over those of the chart: maps are joined, everything else is replaced. */
  function over(below: unknown, above: unknown): unknown {
    if (!isMap(below) || !isMap(above)) return above
    const names = new Set([...Object.keys(below), ...Object.keys(above)])
    return Object.fromEntries(
      [...names].map((name) => [name, name in above ? over(below[name], above[name]) : below[name]]),
    )
  }
  const isMap = (value: unknown): value is Values =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const problems = (values: Values) => {
    takes(over(defaults, values))
    return (takes.errors ?? []).map(
      ({ instancePath, message, params }) => `${instancePath} ${message} ${Object.values(params).join()}`,
    )
  }
  const small = parse(read('test/helm/small.values.yaml')) as Values // a map; parsed for real by Helm

  test('has the schema of the configuration in it, as it is now (else: npm run chart)', () => {
    expect(withConfigSchema(text, read('config/schema.json'))).toBe(text)
  })

  test.each(rendered.filter((name) => name !== 'sidecar'))('takes the values of test/helm/%s', (name) => {
    expect(problems(parse(read(`test/helm/${name}.values.yaml`)) as Values)).toEqual([])
  })

  test('takes the values of its README, whose configuration is without a mistake', () => {
    const values = parse(blockOf('deploy/helm/sidegate/README.md', 'values')) as { config: Values }

    expect(problems(values)).toEqual([])
    expect(loadMounted(stringify(values.config)).warnings).toEqual([])
  })

  test('takes what a chart says of its subchart', () => {
    const { sidegate } = parse(read('deploy/helm/example-sidecar/values.yaml')) as { sidegate: Values }

    expect(problems({ ...sidegate, global: {} })).toEqual([])
  })

  test('knows every value that the chart has, so that no default is a mistake', () => {
    expect(problems({ ...small })).toEqual([])
    expect(Object.keys(defaults)).toEqual(
      Object.keys((JSON.parse(text) as { properties: object }).properties).filter((name) => name !== 'global'),
    )
  })

  test.each<[string, Values, string]>([
    ['without an image', { image: { repository: '' } }, '/image/repository must NOT have fewer than 1 characters'],
    ['with a misspelled value', { replicas: 3 }, ' must NOT have additional properties replicas'],
    ['with another mode', { mode: 'daemon' }, '/mode must be equal to one of the allowed values'],
    ['with no replica', { replicaCount: 0 }, '/replicaCount must be >= 1'],
    ['with a digest that is none', { image: { digest: 'latest' } }, '/image/digest must match pattern'],
    [
      'with a network policy that lets nothing out',
      { networkPolicy: { enabled: true } },
      '/networkPolicy/egress must NOT',
    ],
    [
      'with a misspelled key of the configuration',
      { config: { routs: [] } },
      '/config must NOT have additional properties routs',
    ],
    [
      'with a duration that is none',
      { config: { shutdown: { delay: '10' } } },
      '/config/shutdown/delay must match pattern',
    ],
  ])('refuses values %s', (_, values, problem) => {
    expect(problems(over(small, values) as Values).join('\n')).toContain(problem)
  })

  test('refuses a configuration without routes', () => {
    expect(problems({ ...small, config: { publicUrl: 'https://app.example.com' } }).join()).toContain('routes')
  })
})

test('the version of the chart is that of the package', () => {
  const chart = parse(read('deploy/helm/sidegate/Chart.yaml')) as Values
  const { dependencies } = parse(read('deploy/helm/example-sidecar/Chart.yaml')) as { dependencies: Values[] }

  expect(chart).toMatchObject({ version, appVersion: version })
  expect(dependencies).toEqual([{ name: 'sidegate', version, repository: 'file://../sidegate' }])
})

test('the rules and the dashboard of the chart are those of deploy/, not copies', () => {
  const real = (file: string) => realpathSync(join(root, file))

  expect(real('deploy/helm/sidegate/files/rules.yaml')).toBe(real('deploy/prometheus/rules.yaml'))
  expect(real('deploy/helm/sidegate/files/dashboard.json')).toBe(real('deploy/grafana/sidegate.json'))
})

test.each(cases(root))('test/helm/%s is what Helm makes of the chart as it is now (else: npm run chart)', (name) => {
  const text = rendering(root, name)

  expect(text.split('\n', 1)[0]).toBe(`# Made by \`npm run chart\`. Of ${digestOf(root, name)}`)
  // Helm is no package of npm or Debian: where it is installed all the same, it says so itself.
  if (helm !== undefined) expect(text.slice(text.indexOf('\n') + 1)).toBe(ask(root, name, helm))
})

test.each([
  ['memory', 'config.store.redis: without it sessions are in the memory of one pod'],
  ['selector', 'sidecar.selectorLabels: the labels of your pods'],
  ['schema', "additional properties 'routs' not allowed"],
])('Helm refused test/helm/refused-%s, and said why', (name, message) => {
  expect(rendering(root, `refused-${name}`)).toContain(message)
})

describe.each(rendered)('the chart with test/helm/%s', (name) => {
  const all = manifestsOf(name)
  const deployment = oneOf(all, 'Deployment').spec
  const pod = deployment.template.spec
  const gateway = gatewayOf(pod)
  const configMap = oneOf(all, 'ConfigMap')
  const configText = configMap.data?.['sidegate.yaml'] ?? ''
  const load = () => {
    process.env['CLIENT_SECRET'] = 'a-client-secret-of-more-than-32-characters'
    return loadMounted(configText)
  }

  test('gives the gateway a configuration without a mistake', () => {
    expect(() => load()).not.toThrow()
  })

  test('mounts the configuration where the image looks, as a directory, so that changes arrive', () => {
    expect(gateway.volumeMounts).toContainEqual({ name: 'sidegate-config', mountPath: '/etc/sidegate', readOnly: true })
    expect(pod.volumes).toContainEqual({ name: 'sidegate-config', configMap: { name: configMap.metadata.name } })
  })

  test('mounts every file that the configuration names', () => {
    const files = [...configText.matchAll(/File: (.*)$/gm)].map(([, file = '']) => file)
    const mounts = gateway.volumeMounts?.map(({ mountPath }) => mountPath) ?? []

    expect(files.filter((file) => !mounts.some((mount) => file.startsWith(`${mount}/`)))).toEqual([])
    const hasSecret = pod.volumes.some(({ secret }) => secret?.secretName === 'sidegate-secrets')
    expect(hasSecret).toBe(files.length > 0)
    expect(gateway.volumeMounts?.every(({ readOnly }) => readOnly)).toBe(true)
  })

  test('asks the management listener, and names the ports of the configuration', () => {
    const { listen, management } = load().config

    expect(gateway.ports).toEqual([
      { name: 'http', containerPort: listen.port },
      { name: 'management', containerPort: management.port },
    ])
    expect(gateway.startupProbe?.httpGet).toEqual({ path: '/readyz', port: 'management' })
    expect(gateway.readinessProbe?.httpGet).toEqual({ path: '/readyz', port: 'management' })
    expect(gateway.livenessProbe?.httpGet).toEqual({ path: '/healthz', port: 'management' })
  })

  test('gives the gateway the time that its configuration takes to stop', () => {
    const { delay, grace } = load().config.shutdown
    const sleep = Math.max(0, ...pod.containers.map(({ lifecycle }) => lifecycle?.preStop.sleep.seconds ?? 0))

    expect(pod.terminationGracePeriodSeconds).toBe(sleep + Math.ceil(delay / 1_000) + grace / 1_000 + 10)
  })

  test('runs without privileges, as the user of the image', () => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    })
    expect(gateway.securityContext).toEqual({
      runAsNonRoot: true,
      runAsUser: 65_532,
      runAsGroup: 65_532,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  })

  test('selects the pods by everything that selects', () => {
    const { labels } = deployment.template.metadata
    const selecting = all.filter(({ kind }) => /^(Service|Deployment|NetworkPolicy|PodDisruptionBudget)$/.test(kind))
    const selectors = selecting.map(({ kind, spec }) =>
      kind === 'Service' ? spec.selector : (spec.podSelector ?? spec.selector)?.matchLabels,
    )

    for (const selector of selectors) expect(labels).toMatchObject(selector ?? { nothing: 'is selected' })
  })

  test('has no two manifests of one kind and name, and no name that is too long', () => {
    const names = all.map(({ kind, metadata }) => `${kind} ${metadata.name}`)

    expect(new Set(names).size).toBe(names.length)
    expect(all.filter(({ metadata }) => metadata.name.length > 63)).toEqual([])
  })
})

describe('the chart', () => {
  const spec = (name: string, kind: string) => oneOf(manifestsOf(name), kind).spec
  const kinds = (name: string) =>
    manifestsOf(name)
      .map(({ kind }) => kind)
      .toSorted()

  test('makes of one pod with memory no more than it needs, and never two at a time', () => {
    expect(kinds('small')).toEqual(['ConfigMap', 'Deployment', 'Service'])
    expect(spec('small', 'Deployment')).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } })
  })

  test('scales by itself, keeps an instance through maintenance, and spreads over nodes and zones', () => {
    expect(kinds('release')).toEqual([
      'ConfigMap',
      'Deployment',
      'HorizontalPodAutoscaler',
      'PodDisruptionBudget',
      'Service',
    ])
    const { replicas, template } = spec('release', 'Deployment')
    expect(replicas).toBeUndefined()
    expect(spec('release', 'HorizontalPodAutoscaler')).toMatchObject({
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'the-sidegate' },
      minReplicas: 2,
    })
    expect(spec('release', 'PodDisruptionBudget')).toMatchObject({ minAvailable: 1 })
    expect(template.spec.topologySpreadConstraints).toMatchObject([
      { topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
      { topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' },
    ])
  })

  test('takes the tag of the image from the chart, or its digest', () => {
    expect(gatewayOf(spec('release', 'Deployment').template.spec).image).toBe(
      `registry.example.com/sidegate:${version}`,
    )
    expect(gatewayOf(spec('full', 'Deployment').template.spec).image).toMatch(
      /^registry\.example\.com\/sidegate@sha256:0/,
    )
  })

  test('names only the public port in the Service, and the management port in one that has no address', () => {
    const services = manifestsOf('full').filter(({ kind }) => kind === 'Service')

    expect(
      services.map(({ metadata, spec: { ports } }) => [metadata.name, ports?.map(({ targetPort }) => targetPort)]),
    ).toEqual(
      expect.arrayContaining([
        ['shop-sidegate', ['http']],
        ['shop-sidegate-management', ['management']],
      ]),
    )
  })

  test('lets in the ingress and the monitoring, each to its port, and out to what is named', () => {
    const policy = spec('full', 'NetworkPolicy')

    expect(policy).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: [{ port: 8443 }] }, { ports: [{ port: 9191 }] }],
    })
    expect(policy).toHaveProperty('egress.0.ports', [
      { protocol: 'UDP', port: 53 },
      { protocol: 'TCP', port: 53 },
    ])
    expect(policy).toHaveProperty('egress.length', 4)
  })

  test('takes the host of the ingress from publicUrl', () => {
    expect(spec('full', 'Ingress')).toMatchObject({
      ingressClassName: 'nginx',
      tls: [{ hosts: ['app.example.com'], secretName: 'app-tls' }],
      rules: [{ host: 'app.example.com', http: { paths: [{ path: '/', pathType: 'Prefix' }] } }],
    })
  })

  test('calls the scraped job what rules and dashboard call it, and hands both on as they are', () => {
    const service = manifestsOf('full').find(({ metadata }) => metadata.name === 'shop-sidegate-management')
    const monitor = spec('full', 'ServiceMonitor')

    expect(monitor.endpoints).toEqual([
      {
        port: 'management',
        path: '/metrics',
        interval: '15s',
        relabelings: [{ targetLabel: 'job', replacement: 'sidegate' }],
      },
    ])
    expect(service?.metadata.labels).toMatchObject(monitor.selector?.matchLabels ?? {})
    expect(spec('full', 'PrometheusRule')).toEqual(parse(read('test/helm/files/rules.yaml')))
    const dashboard = manifestsOf('full').find(({ metadata }) => metadata.labels?.['grafana_dashboard'] === '1')
    expect(JSON.parse(dashboard?.data?.['sidegate.json'] ?? '')).toEqual(
      JSON.parse(read('test/helm/files/dashboard.json')),
    )
  })

  test('starts new pods for a changed configuration only where that is asked for', () => {
    const checksum = (name: string) => spec(name, 'Deployment').template.metadata.annotations?.['checksum/config']

    expect(checksum('full')).toMatch(/^[0-9a-f]{64}$/)
    expect(checksum('release')).toBeUndefined()
  })

  test('as a sidecar brings no Deployment of its own, and its container is a native sidecar of the app', () => {
    const all: Manifest[] = manifestsOf('sidecar')
    const pod = oneOf(all, 'Deployment').spec.template.spec
    const app = pod.containers.find(({ name }) => name === 'app')

    expect(kinds('sidecar')).toEqual([
      'ConfigMap',
      'Deployment',
      'NetworkPolicy',
      'Service',
      'Service',
      'ServiceMonitor',
    ])
    expect(pod.initContainers).toEqual([expect.objectContaining({ name: 'sidegate', restartPolicy: 'Always' })])
    // The gateway is told to stop after the app has gone: until then the app serves what still comes.
    expect(app?.lifecycle?.preStop.sleep.seconds).toBeGreaterThanOrEqual(10)
  })
})
