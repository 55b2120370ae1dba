/** The keys of TLS, wherever it is spoken. */
import { z } from 'zod'
import { file, pem, secret, text } from './values.ts'

/** Certificate and key of a listener. */
export const serverTls = z.strictObject({
  cert: pem('Certificate chain, PEM.'),
  certFile: file('cert'),
  key: secret('Private key, PEM.'),
  keyFile: file('key'),
})

/** Certificate and key by which we are known to a server. */
export const clientTls = z.strictObject({
  cert: pem('Client certificate, PEM.'),
  certFile: file('cert'),
  key: secret('Private key of the client certificate, PEM.'),
  keyFile: file('key'),
})

/** How a server behind us is verified, and how it knows us. */
export const peerTls = z.strictObject({
  ca: pem('Certificates of the authority that signed the server’s certificate, PEM; in place of the built-in ones.'),
  caFile: file('ca'),
  cert: pem('Client certificate, PEM.'),
  certFile: file('cert'),
  key: secret('Private key of the client certificate, PEM.'),
  keyFile: file('key'),
  serverName: text
    .optional()
    .meta({ description: 'Name that the server’s certificate must carry, where it is not the host’s.' }),
})
