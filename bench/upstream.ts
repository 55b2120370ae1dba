/** The API behind the proxies, and nginx as a proxy to compare with. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MEASURED_CORE, OTHER_CORE, Part, programPath } from './part.ts'

/** 1 kB of JSON, as an API answers a list. */
export const BODY = JSON.stringify({
  items: Array.from({ length: 12 }, (_, index) => ({
    id: 1_000 + index,
    name: `item ${index}`,
    price: 1_999,
    currency: 'EUR',
    stock: 17,
  })),
}).padEnd(1_024)

/** Answers `BODY` at every path, at /api/echo the `Authorization` that arrived, below /api/file/ the files of the directory. */
export async function startUpstream(directory: string, port: number): Promise<Part> {
  const nginx = programPath('nginx')
  const command = nginx
    ? await nginxCommand(nginx, join(directory, 'upstream.conf'), [
        'server {',
        `  listen 127.0.0.1:${port} reuseport;`,
        '  default_type application/json;',
        `  location = /api/echo { return 200 '{"authorization":"$http_authorization"}'; }`,
        `  location /api/file/ { alias ${directory}/; }`,
        `  location / { return 200 '${BODY}'; }`,
        '}',
      ])
    : [process.execPath, new URL('node-upstream.ts', import.meta.url).pathname, String(port)]
  const part = new Part({ name: 'upstream', command, core: OTHER_CORE, outputFile: join(directory, 'upstream.log') })
  await part.answering(`http://127.0.0.1:${port}/api/items`)
  return part
}

/** nginx with `proxy_pass` and kept-alive connections; undefined where there is no nginx. */
export async function startNginxProxy(
  directory: string,
  port: number,
  upstreamPort: number,
): Promise<Part | undefined> {
  const nginx = programPath('nginx')
  if (!nginx) return undefined
  const command = await nginxCommand(nginx, join(directory, 'proxy.conf'), [
    `upstream api { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000; }`,
    'server {',
    `  listen 127.0.0.1:${port};`,
    // Large bodies as a gateway hands them on: without files in between.
    '  location /api/stream/ { proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off; client_max_body_size 0; }',
    '  location / { proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Authorization "Bearer t"; }',
    '}',
  ])
  const part = new Part({ name: 'nginx', command, core: MEASURED_CORE, outputFile: join(directory, 'proxy.log') })
  await part.answering(`http://127.0.0.1:${port}/api/items`)
  return part
}

/** Writes nginx's configuration and resolves the command that runs it; `main` stands in front of everything. */
export async function nginxCommand(
  nginx: string,
  file: string,
  http: readonly string[],
  main: readonly string[] = [],
): Promise<string[]> {
  const lines = [
    ...main,
    // Not /dev/null: nginx deletes its pid file when it stops, and as root it could.
    `daemon off; worker_processes 1; pid ${file}.pid; error_log /dev/null;`,
    'events { worker_connections 4096; }',
    'http {',
    'access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;',
    ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${file}.${kind};`),
    ...http,
    '}',
  ]
  await writeFile(file, lines.join('\n'))
  return [nginx, '-c', file]
}
