import { expect, test } from 'vitest'
import { fingerprintOf, TokenBook } from '../../src/demo/tokens.ts'

test('the demo knows tokens by their fingerprints: those of one answer together, and what a refresh leaves out from before', () => {
  const book = new TokenBook()
  book.note({ access_token: 'a1', refresh_token: 'r1', id_token: 'i1', token_type: 'Bearer' }, undefined)
  book.note({ access_token: 'a2', refresh_token: 'r2' }, 'r1')

  expect(book.heldWith('a1')).toEqual({
    access: fingerprintOf('a1'),
    refresh: fingerprintOf('r1'),
    id: fingerprintOf('i1'),
  })
  expect(book.heldWith('a2')).toEqual({
    access: fingerprintOf('a2'),
    refresh: fingerprintOf('r2'),
    id: fingerprintOf('i1'),
  })
  expect(book.heldWith('of somebody else')).toEqual({})
})

test('the demo forgets the tokens of long ago', () => {
  const book = new TokenBook()
  book.note({ access_token: 'first' }, undefined)
  for (let index = 0; index < 2_000; index += 1) book.note({ access_token: `token ${index}` }, undefined)

  expect(book.heldWith('first')).toEqual({})
  expect(book.heldWith('token 1999')).not.toEqual({})
})
