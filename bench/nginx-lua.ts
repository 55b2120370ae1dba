/** nginx that looks a session up in Redis by a script in Lua and puts its token on: the least that such a gateway can do. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../test/support/free-port.ts'
import type { Peer } from './mod-auth-openidc.ts'
import { MEASURED_CORE, Part, programPath } from './part.ts'
import type { BenchRedis } from './redis.ts'
import { nginxCommand } from './upstream.ts'

const MODULES = '/usr/lib/nginx/modules'

export interface NginxLuaOptions {
  readonly directory: string
  readonly upstreamPort: number
  readonly redis: BenchRedis
  readonly sessions: number
}

/** `undefined` where nginx or its Lua module is not installed (Debian: nginx-light, libnginx-mod-http-lua). */
export async function startNginxLua(options: NginxLuaOptions): Promise<Peer | undefined> {
  const nginx = programPath('nginx')
  if (!nginx || !existsSync(`${MODULES}/ngx_http_lua_module.so`)) return undefined
  const { directory, upstreamPort, redis, sessions } = options
  const ids = Array.from({ length: sessions }, () => randomBytes(32).toString('base64url'))
  for (const id of ids) {
    const session = { sub: 'alice', accessToken: randomBytes(600).toString('base64url'), filler: 'x'.repeat(900) }
    await redis.ask(`SET lua:${id} ${JSON.stringify(JSON.stringify(session))}`)
  }
  const port = await freePort()
  const redisPort = new URL(redis.url).port
  const command = await nginxCommand(
    nginx,
    join(directory, 'lua.conf'),
    [
      `upstream api { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000; }`,
      'lua_package_path "/usr/share/lua/5.1/?.lua;;";',
      'server {',
      `  listen 127.0.0.1:${port};`,
      '  location / {',
      '    set $token "";',
      `    access_by_lua_block { ${lookUp(redisPort)} }`,
      '    proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";',
      '    proxy_set_header Cookie ""; proxy_set_header Authorization "Bearer $token";',
      '  }',
      '}',
    ],
    ['ndk_http_module', 'ngx_http_lua_module'].map((name) => `load_module ${MODULES}/${name}.so;`),
  )
  const part = new Part({ name: 'nginx-lua', command, core: MEASURED_CORE, outputFile: join(directory, 'lua.log') })
  // 401 without a session.
  await part.answering(`http://127.0.0.1:${port}/api/items`)
  return {
    part,
    url: `http://127.0.0.1:${port}`,
    cookies: ids.map((id) => `theme=dark; sid=${id}; experiment=b-7f3a9c`),
    [Symbol.asyncDispose]: () => part[Symbol.asyncDispose](),
  }
}

/** One GET on a kept connection, the JSON read, nothing decrypted: Redis' protocol needs two reads for that. */
function lookUp(redisPort: string): string {
  return `
      local id = ngx.var.cookie_sid
      if not id then return ngx.exit(401) end
      local redis = ngx.socket.tcp()
      if not redis:connect("127.0.0.1", ${redisPort}) then return ngx.exit(503) end
      redis:send("*2\\r\\n$3\\r\\nGET\\r\\n$" .. (#id + 4) .. "\\r\\nlua:" .. id .. "\\r\\n")
      local length = tonumber((redis:receive() or ""):match("^%$(%d+)$"))
      if not length then return ngx.exit(401) end
      local json = redis:receive(length)
      redis:receive(2)
      redis:setkeepalive(60000, 128)
      local token = json:match('"accessToken":"([^"]+)"')
      if not token then return ngx.exit(401) end
      ngx.var.token = token`
}
