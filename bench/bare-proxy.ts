/** The base of all ratios: @fastify/http-proxy as it comes, its logger off. `node bench/bare-proxy.ts PORT UPSTREAM` */
import proxy from '@fastify/http-proxy'
import { fastify } from 'fastify'

const [port = '0', upstream = ''] = process.argv.slice(2)
const app = fastify({ logger: false })
await app.register(proxy, { upstream, prefix: '/api', rewritePrefix: '/api' })
await app.listen({ host: '127.0.0.1', port: Number(port) })
