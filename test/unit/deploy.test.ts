/** The files under deploy/, as far as they can be judged without a cluster: their configuration, and what must agree. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { parseDockerfile, valuesOf } from '../support/dockerfile.ts'
import { gatewayOf, oneOf, parseManifests } from '../support/manifests.ts'
import { loadMounted } from '../support/mounted-config.ts'

const root = new URL('../..', import.meta.url).pathname
const read = (path: string) => readFileSync(join(root, 'deploy', path), 'utf8')

const manifests = (file: string) => parseManifests(read(`kubernetes/${file}`))

const seconds = (ms: number) => ms / 1_000

describe.each(['sidecar.yaml', 'native-sidecar.yaml', 'standalone.yaml'])('deploy/kubernetes/%s', (file) => {
  const all = manifests(file)
  const of = (kind: string) => oneOf(all, kind)
  const pod = of('Deployment').spec.template.spec
  const gateway = gatewayOf(pod)
  const configText = of('ConfigMap').data!['sidegate.yaml']!

  test('has a configuration without a mistake or a warning', () => {
    expect(loadMounted(configText).warnings).toEqual([])
  })

  test('mounts the configuration where the image looks for it, and the secrets where the configuration does', () => {
    const [, runtime] = parseDockerfile(readFileSync(join(root, 'Dockerfile'), 'utf8'))
    const mounts = new Map(gateway.volumeMounts?.map(({ name, mountPath }) => [name, mountPath]))

    expect(valuesOf(runtime!, 'ENV').join(' ')).toContain(`SIDEGATE_CONFIG=${mounts.get('config')}/sidegate.yaml`)
    expect(configText.match(/File: (.*)\/[^/]+$/gm)).toHaveLength(3)
    expect(configText.match(/File: .*/g)?.every((line) => line.startsWith(`File: ${mounts.get('secrets')}/`))).toBe(
      true,
    )
    expect(pod.volumes.find(({ name }) => name === 'config')?.configMap?.name).toBe(of('ConfigMap').metadata.name)
    expect(gateway.volumeMounts?.every(({ readOnly }) => readOnly)).toBe(true)
  })

  test('gives the gateway the time that its configuration takes to stop', () => {
    const { config } = loadMounted(configText)
    const sleep = Math.max(0, ...pod.containers.map(({ lifecycle }) => lifecycle?.preStop.sleep.seconds ?? 0))
    // A native sidecar is told after the others have gone; plain containers are told together.
    const before = gateway.restartPolicy === 'Always' ? sleep : 0

    const needed = before + seconds(config.shutdown.delay) + seconds(config.shutdown.grace)
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(needed)
  })

  test('keeps the app up for as long as the gateway still serves it', () => {
    const { config } = loadMounted(configText)
    const app = pod.containers.find(({ name }) => name === 'app')
    if (!app) return // standalone: the app has a life of its own

    expect(app.lifecycle!.preStop.sleep.seconds).toBeGreaterThan(seconds(config.shutdown.delay))
  })

  test('asks the management listener: readiness for start and traffic, health for life', () => {
    const management = gateway.ports?.find(({ name }) => name === 'management')

    expect(management?.containerPort).toBe(loadMounted(configText).config.management.port)
    expect(gateway.startupProbe?.httpGet).toEqual({ path: '/readyz', port: 'management' })
    expect(gateway.readinessProbe?.httpGet).toEqual({ path: '/readyz', port: 'management' })
    expect(gateway.livenessProbe?.httpGet).toEqual({ path: '/healthz', port: 'management' })
  })

  test('names only the public listener in the Service', () => {
    const targets = of('Service').spec.ports?.map(({ targetPort }) => targetPort)

    expect(targets).toEqual(['http'])
    expect(gateway.ports?.find(({ name }) => name === 'http')?.containerPort).toBe(
      loadMounted(configText).config.listen.port,
    )
  })

  test('runs without privileges, as the user of the image', () => {
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
    expect(gateway.securityContext).toEqual({
      runAsUser: 65_532,
      runAsGroup: 65_532,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  })
})

test('the native sidecar is one: an init container that is always restarted', () => {
  const { initContainers } = oneOf(manifests('native-sidecar.yaml'), 'Deployment').spec.template.spec

  expect(initContainers?.[0]).toMatchObject({ name: 'sidegate', restartPolicy: 'Always' })
})

test('the standalone gateway scales, keeps one instance through maintenance, and has its network closed', () => {
  const all = manifests('standalone.yaml')
  const of = (kind: string) => oneOf(all, kind).spec
  const { labels } = of('Deployment').template.metadata

  expect(of('HorizontalPodAutoscaler')).toMatchObject({
    scaleTargetRef: { kind: 'Deployment', name: 'sidegate' },
    minReplicas: 2,
  })
  expect(of('PodDisruptionBudget')).toMatchObject({ minAvailable: 1, selector: { matchLabels: labels } })
  expect(of('NetworkPolicy')).toMatchObject({
    podSelector: { matchLabels: labels },
    policyTypes: ['Ingress', 'Egress'],
  })
})

describe('deploy/compose', () => {
  interface Service {
    volumes?: string[]
    ports?: string[]
    secrets?: string[]
    environment?: Record<string, string>
    command?: string[]
    read_only?: boolean
    cap_drop?: string[]
    stop_grace_period?: string
  }
  // Our own files; what is read of them is asserted below.
  const { services, secrets } = parse(read('compose/compose.yaml')) as {
    services: Record<string, Service>
    secrets: Record<string, { file: string }>
  }
  const realm = JSON.parse(read('compose/keycloak-realm.json')) as {
    realm: string
    clients: { clientId: string; secret: string; redirectUris: string[]; attributes: Record<string, string> }[]
  }
  const loaded = () => loadMounted(read('compose/sidegate.yaml')).config
  const [client] = realm.clients

  test('has a configuration without a mistake', () => {
    expect(loaded().provider?.clientId).toBe(client?.clientId)
    expect(loaded().provider?.clientSecret).toBe(client?.secret)
  })

  test('browser and container agree on the issuer: one name in tokens, another way to the same server', () => {
    const { issuer, backchannelBaseUrl } = loaded().provider!

    expect(issuer).toBe(`${services['keycloak']?.environment?.['KC_HOSTNAME']}/realms/${realm.realm}`)
    expect(services['keycloak']?.ports).toEqual([`127.0.0.1:${new URL(issuer).port}:8080`])
    expect(Object.keys(services)).toContain(new URL(backchannelBaseUrl!).hostname)
  })

  test('has the addresses registered that the gateway uses', () => {
    const { publicUrl, basePath } = loaded()

    expect(client?.redirectUris).toEqual([`${publicUrl}${basePath}/callback`])
    expect(client?.attributes['post.logout.redirect.uris']).toBe(`${publicUrl}${basePath}/logout/callback`)
    expect(client?.attributes['backchannel.logout.url']).toBe(`http://sidegate:8080${basePath}/backchannel-logout`)
  })

  test('mounts what the configuration names, and never evicts sessions', () => {
    expect(services['sidegate']?.volumes).toContain('./sidegate.yaml:/etc/sidegate/sidegate.yaml:ro')
    expect(services['sidegate']?.secrets).toEqual(Object.keys(secrets))
    expect(services['redis']?.command?.join(' ')).toContain('--maxmemory-policy noeviction')
  })

  test('runs the gateway without privileges, with the time that it takes to stop', () => {
    const { shutdown } = loaded()

    expect(services['sidegate']).toMatchObject({ read_only: true, cap_drop: ['ALL'] })
    expect(Number.parseInt(services['sidegate']?.stop_grace_period ?? '', 10)).toBeGreaterThan(
      seconds(shutdown.delay + shutdown.grace),
    )
  })
})
