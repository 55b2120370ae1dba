/** The keys of the listeners. */
import { z } from 'zod'
import { serverTls } from './tls-shape.ts'
import { file, port, secret, size, text } from './values.ts'

/** The public listener. */
export const listen = z
  .strictObject({
    host: text.default('0.0.0.0').meta({ description: 'Address of the public listener; `::` for both families.' }),
    port: port.default(8_080).meta({ description: 'Port of the public listener.' }),
    socket: text.optional().meta({ description: 'A unix socket in place of host and port.' }),
    tls: serverTls.optional().meta({ description: 'Speak TLS on the public listener.' }),
    maxHeaderSize: size.prefault('32kb').meta({ description: 'Largest request header; a larger one is 431.' }),
  })
  .prefault({})
  .meta({ description: 'The public listener.' })

/** Always there: probes and metrics. */
export const management = z
  .strictObject({
    host: text.default('0.0.0.0').meta({ description: 'Address of the management listener.' }),
    port: port.default(9_090).meta({ description: 'Its port.' }),
  })
  .prefault({})
  .meta({ description: 'The listener of /healthz, /readyz and /metrics.' })

/** For operators, off unless configured. */
export const admin = z
  .strictObject({
    host: text.default('127.0.0.1').meta({ description: 'Address of the admin listener.' }),
    port: port.default(9_091).meta({ description: 'Its port.' }),
    socket: text.optional().meta({ description: 'A unix socket in place of host and port.' }),
    token: secret('Bearer token that callers must present.'),
    tokenFile: file('token'),
  })
  .optional()
  .meta({ description: 'The listener on which operators list and end sessions; off unless configured.' })

/** For another proxy that asks us, off unless configured. */
export const forwardAuth = z
  .strictObject({ host: text.meta({ description: 'Its address.' }), port: port.meta({ description: 'Its port.' }) })
  .optional()
  .meta({
    description: 'The listener for nginx auth_request, Traefik and Caddy forward_auth; off unless configured.',
  })
