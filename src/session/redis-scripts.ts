/**
 * The writes of the Redis store, each one atomic step on the keys of one hash slot.
 *
 * A session `s:{ref}` is a hash: `v` version, `k` key id, `d` sealed bytes, `t` last seen, `c` created (both epoch ms).
 * What other instances must learn is published by the script that does it, so that no crash comes between.
 * `pcall`, because a user without rights on the channel must still be able to write.
 */

interface Script {
  readonly numberOfKeys: number
  readonly lua: string
}

/** Moves a key's end to `ttl` ms from now unless it is later already. */
const EXTEND = `
local function extend(key, ttl)
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end`

export const scripts = {
  /** session → created? · v k d t c ttl */
  sgCreate: {
    numberOfKeys: 1,
    lua: `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'k', ARGV[2], 'd', ARGV[3], 't', ARGV[4], 'c', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1`,
  },
  /** session, lock → outcome · expected version, owner or '', v k d t ttl, channel, event */
  sgReplace: {
    numberOfKeys: 2,
    lua: `${EXTEND}
local was = redis.call('HMGET', KEYS[1], 'v', 't')
if not was[1] then return 'gone' end
if was[1] ~= ARGV[1] then return 'conflict' end
if ARGV[2] ~= '' then
  local holder = redis.call('GET', KEYS[2])
  if holder and holder ~= ARGV[2] then return 'conflict' end
end
local seen = ARGV[6]
if was[2] and tonumber(was[2]) > tonumber(seen) then seen = was[2] end
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'k', ARGV[4], 'd', ARGV[5], 't', seen)
extend(KEYS[1], ARGV[7])
redis.pcall('PUBLISH', ARGV[8], ARGV[9])
return 'replaced'`,
  },
  /** session → still there? · t ttl */
  sgTouch: {
    numberOfKeys: 1,
    lua: `${EXTEND}
local was = redis.call('HMGET', KEYS[1], 'v', 't')
if not was[1] then return 0 end
if not was[2] or tonumber(ARGV[1]) > tonumber(was[2]) then redis.call('HSET', KEYS[1], 't', ARGV[1]) end
extend(KEYS[1], ARGV[2])
return 1`,
  },
  /** session → last record or nil · version or '', last seen or '', created before or '', channel, event */
  sgDelete: {
    numberOfKeys: 1,
    lua: `
local was = redis.pcall('HMGET', KEYS[1], 'v', 'k', 'd', 't', 'c')
if was.err then was = { false, false, false, false, false } end
if ARGV[1] ~= '' and was[1] ~= ARGV[1] then return nil end
if ARGV[2] ~= '' and (tonumber(was[4]) or 0) > tonumber(ARGV[2]) then return nil end
if ARGV[3] ~= '' and (tonumber(was[5]) or 0) >= tonumber(ARGV[3]) then return nil end
if redis.call('DEL', KEYS[1]) == 0 then return nil end
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return was`,
  },
  /** lock → 0 when ours, else ms until the other's lease lapses · owner, lease */
  sgAcquire: {
    numberOfKeys: 1,
    lua: `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return math.max(1, redis.call('PTTL', KEYS[1])) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0`,
  },
  /** lock → still ours? · owner, lease */
  sgRenew: {
    numberOfKeys: 1,
    lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`,
  },
  /** lock → was it ours? · owner, channel, event */
  sgRelease: {
    numberOfKeys: 1,
    lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], ARGV[3])
return 1`,
  },
  /** index · member, score, now, ttl */
  sgIndexAdd: {
    numberOfKeys: 1,
    lua: `${EXTEND}
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
extend(KEYS[1], ARGV[4])
return 1`,
  },
  /** note → the earlier value or nil · value, ttl */
  sgNote: {
    numberOfKeys: 1,
    lua: `
local was = redis.call('GET', KEYS[1])
if was then return was end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return nil`,
  },
  /** note → its value or nil, gone afterwards */
  sgTake: {
    numberOfKeys: 1,
    lua: `
local was = redis.call('GET', KEYS[1])
if was then redis.call('DEL', KEYS[1]) end
return was`,
  },
  /** count → allowed?, ms until its window ends · limit, window. A key that would stay for ever begins anew. */
  sgCount: {
    numberOfKeys: 1,
    lua: `
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then
  left = tonumber(ARGV[2])
  redis.call('SET', KEYS[1], 0, 'PX', left)
end
if (tonumber(redis.call('GET', KEYS[1])) or 0) >= tonumber(ARGV[1]) then return { 0, left } end
redis.call('INCR', KEYS[1])
return { 1, left }`,
  },
  /** probe key · value, ttl: a write that needs memory, which leaves nothing */
  sgProbe: {
    numberOfKeys: 1,
    lua: `
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[1])
return 1`,
  },
} as const satisfies Record<string, Script>

type Argument = string | number | Buffer

/** What `scripts` adds to a client; ioredis makes these methods when it is given the scripts. */
export interface ScriptCommands {
  sgCreate(session: string, ...args: Argument[]): Promise<number>
  sgReplace(session: string, lock: string, ...args: Argument[]): Promise<'replaced' | 'conflict' | 'gone'>
  sgTouch(session: string, ...args: Argument[]): Promise<number>
  sgDeleteBuffer(session: string, ...args: Argument[]): Promise<(Buffer | null)[] | null>
  sgAcquire(lock: string, ...args: Argument[]): Promise<number>
  sgRenew(lock: string, ...args: Argument[]): Promise<number>
  sgRelease(lock: string, ...args: Argument[]): Promise<number>
  sgIndexAdd(index: string, ...args: Argument[]): Promise<number>
  sgNote(note: string, ...args: Argument[]): Promise<string | null>
  sgTake(note: string): Promise<string | null>
  sgCount(count: string, ...args: Argument[]): Promise<[allowed: number, endsInMs: number]>
  sgProbe(key: string, ...args: Argument[]): Promise<number>
}
