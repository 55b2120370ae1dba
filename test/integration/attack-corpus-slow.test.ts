/** The cases of the attack corpus that are about patience: each waits for a limit of ours, all side by side. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasCorpora } from '../support/corpus.ts'
import { CorpusWorld, readAttackCases } from '../support/corpus-world.ts'
import type { AttackCase } from '../support/corpus-world.ts'
import { RawClient } from '../support/raw-client.ts'
import { statusOf } from '../support/raw-http.ts'

const MIB = 1_048_576

describe.skipIf(!hasCorpora)(
  'the slow cases of the attack corpus',
  () => {
    let world: CorpusWorld
    const cases = new Map(hasCorpora ? readAttackCases().map((attack) => [attack.name, attack]) : [])

    beforeAll(async () => {
      world = await CorpusWorld.start()
    })
    afterAll(() => world[Symbol.asyncDispose]())

    async function begin(name: string): Promise<{ attack: AttackCase; client: RawClient }> {
      const attack = cases.get(name)
      if (!attack) throw new Error(`the corpus has no case ${name}`)
      const client = await RawClient.connect(world.port)
      return { attack, client: client.send(world.requestOf(attack)) }
    }

    test.concurrent('slow-headers: one line a second is cut within fifteen', async () => {
      const { client } = await begin('slow-headers')
      const drip = setInterval(() => client.send('X-a: b\r\n'), 1_000)

      await Promise.race([client.closed(), delay(15_000)])
      clearInterval(drip)

      expect(client.isClosed).toBe(true)
      expect([[], [408], [400]]).toContainEqual(client.answers().map(statusOf))
    })

    test.concurrent('idle-connection: one that says nothing is cut within fifteen seconds', async () => {
      const { client } = await begin('idle-connection')

      await Promise.race([client.closed(), delay(15_000)])

      expect(client.isClosed).toBe(true)
    })

    test.concurrent(
      'slow-body: a body that stops is cut within thirty seconds, and the upstream is let go',
      async () => {
        const { attack, client } = await begin('slow-body')

        const [answer] = await client.read()

        expect(attack.expect.status).toContain(statusOf(answer!))
        await world.upstream.until(
          ({ requests }) => !requests.some((request) => request.startLine.includes('/v1/slow') && request.isComplete),
        )
      },
    )

    test.concurrent('ws-big-frame: 200 MiB towards an upstream that does not read grow no memory', async () => {
      const { client } = await begin('ws-big-frame')
      await client.until(() => client.received.includes('101'))
      for (const socket of world.sockets.sockets) socket.pause()
      client.send(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x0c, 0x80, 0, 0, 1, 2, 3, 4]))

      let written = 0
      for (; written < 200 && client.socket.writableLength === 0; written += 1) {
        client.send(Buffer.alloc(MIB))
        await delay(5) // gives every buffer on the way time to fill
      }

      expect(written).toBeLessThan(50)
      client.socket.destroy()
    })

    test.concurrent('slow-reader: who does not read for a minute is cut, and costs no memory meanwhile', async () => {
      world.respondToBig(300 * MIB)
      const client = await RawClient.connect(world.port)
      client.socket.pause()
      client.send(world.requestOf(cases.get('slow-reader')!))

      const upstream = await world.bigAnswer
      await delay(3_000) // until every buffer on the way is full
      const before = upstream.bytesWritten
      await delay(3_000)

      expect(upstream.bytesWritten - before).toBe(0)
      expect(upstream.bytesWritten).toBeLessThan(50 * MIB)
      await world.bigAnswerClosed
    })
  },
  90_000,
)
