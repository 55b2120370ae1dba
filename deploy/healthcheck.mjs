// HEALTHCHECK of the image, which has no curl: asks /healthz of the management listener and exits 0 or 1.
// SIDEGATE_HEALTH_URL names it where `management` has another host or port.
const url = process.env.SIDEGATE_HEALTH_URL ?? 'http://127.0.0.1:9090/healthz'

try {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_500) })
  if (!response.ok) throw new Error(`status ${response.status}`)
} catch (error) {
  process.stderr.write(`${url}: ${error.cause?.code ?? error.message}\n`)
  process.exitCode = 1
}
