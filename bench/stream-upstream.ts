/** `node bench/stream-upstream.ts PORT`: answers `?bytes=N` with so many, takes any body, and says how much it was. */
import { createServer, type ServerResponse } from 'node:http'

const PIECE = Buffer.alloc(65_536, 'x')

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    const bytes = Number(new URL(request.url ?? '', 'http://localhost').searchParams.get('bytes') ?? 2)
    response.writeHead(200, { 'content-length': bytes })
    fill(response, bytes)
    return
  }
  let count = 0
  request.on('data', (chunk: Buffer) => (count += chunk.length))
  request.on('end', () => response.end(String(count)))
})
server.requestTimeout = 0
server.listen(Number(process.argv[2]), '127.0.0.1')

/** As fast as it is taken, and no faster. */
function fill(response: ServerResponse, bytes: number): void {
  let left = bytes
  const write = (): void => {
    while (left > 0) {
      const piece = left < PIECE.length ? PIECE.subarray(0, left) : PIECE
      left -= piece.length
      if (!response.write(piece)) {
        response.once('drain', write)
        return
      }
    }
    response.end()
  }
  write()
}
