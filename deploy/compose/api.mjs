// The API of the trial: says for whom it was called, and never repeats the token itself.
import { createServer } from 'node:http'

createServer((request, response) => {
  const token = request.headers.authorization?.replace(/^Bearer /, '')
  const claims = token ? JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString()) : {}
  response.setHeader('content-type', 'application/json')
  response.end(
    JSON.stringify({ path: request.url, subject: claims.sub, audience: claims.aud, cookie: request.headers.cookie }),
  )
}).listen(3000)
