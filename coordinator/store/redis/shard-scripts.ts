/**
 * The scripts of ownership, commit and checkpoints. The server runs each of them alone: what they check still holds when they write.
 *
 * Invariants
 * 1. All that write but `acquire` begin with the fence: epoch and term are those of the caller, or nothing happens.
 * 2. Time is the server's.
 * 3. Numbers of events are compared as texts, or as doubles that hold them exactly; they are never written from a double.
 * 4. A shard whose number of the last event is there and whose journal is not has lost it: whoever owns it is fenced. Whoever takes it then
 *    keeps the lease, for what it reads is damaged and nobody else could read more, and writes nothing.
 *
 * KEYS: shard, journal, checkpoint. ARGV of all but `acquire` and the reading: epoch, term, and what is said below. Each answers a word, then what belongs to it.
 */
import { script } from './connection.ts';

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** Epoch and term. */
const OWNER = `
local shard = redis.call('HMGET', KEYS[1], 'epoch', 'term', 'last_seq')
if shard[1] ~= ARGV[1] or shard[2] ~= ARGV[2] then
  if not shard[1] then return {'fenced', 'the journal is gone'} end
  return {'fenced', 'another owner has the shard'}
end
`;

const JOURNAL = `
if shard[3] ~= '0' and redis.call('EXISTS', KEYS[2]) == 0 then return {'fenced', 'the journal is gone'} end
`;

const FENCE = `${OWNER}${JOURNAL}`;

/** ARGV: coordinator, address, new term, lease in ms. */
export const ACQUIRE = script(`${NOW}
local shard = redis.call('HMGET', KEYS[1], 'owner', 'address', 'expires', 'last_seq', 'chain', 'slice')
if shard[1] and shard[1] ~= ARGV[1] then
  local left = tonumber(shard[3]) - now
  if left > 0 then return {'held', shard[1], shard[2], left} end
end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'term', ARGV[3], 'owner', ARGV[1], 'address', ARGV[2], 'expires', string.format('%.0f', now + ARGV[4]))
if not shard[4] then redis.call('HSET', KEYS[1], 'last_seq', '0', 'chain', '0', 'checkpoint_seq', '0') end
return {'acquired', epoch, shard[4] or '0', shard[5] or '0', shard[6] or '0', redis.call('EXISTS', KEYS[2])}
`);

/** ARGV: last event that the owner knows to be there, lease in ms, whether the owner found a journal. */
export const RENEW = script(`${OWNER}${NOW}
if ARGV[5] == '1' then
  ${JOURNAL}
end
if tonumber(shard[3]) < tonumber(ARGV[3]) then
  return {'fenced', 'the journal ends at ' .. shard[3] .. ', where its owner knows it to reach ' .. ARGV[3] .. ': it went back in time'}
end
redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', now + ARGV[4]))
return {'renewed'}
`);

export const RELEASE = script(`${FENCE}
redis.call('HSET', KEYS[1], 'expires', '0')
return {'released'}
`);

/** ARGV: new term, lease in ms. One whose answer was lost is asked again with the same term, and has the same outcome. */
export const RECLAIM = script(`${NOW}
local known = redis.call('HMGET', KEYS[1], 'term', 'epoch', 'last_seq', 'chain')
if known[1] == ARGV[3] then
  redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', now + ARGV[4]))
  return {'reclaimed', known[2], known[3], known[4]}
end
${FENCE}
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'term', ARGV[3], 'expires', string.format('%.0f', now + ARGV[4]))
return {'reclaimed', epoch, shard[3], redis.call('HGET', KEYS[1], 'chain')}
`);

/** ARGV: number of the event before the batch, first and last of the batch, codec, CRC, chain after it, body. */
export const COMMIT = script(`${FENCE}
if shard[3] ~= ARGV[3] then return {'gap', shard[3]} end
redis.call('XADD', KEYS[2], ARGV[5] .. '-0', 'e', ARGV[1], 'f', ARGV[4], 'c', ARGV[6], 'r', ARGV[7], 'h', ARGV[8], 'b', ARGV[9])
redis.call('HSET', KEYS[1], 'last_seq', ARGV[5], 'chain', ARGV[8])
return {'durable'}
`);

/**
 * ARGV: number of the slice, the last slice and the last event that must be there, number of records, that many pairs of id and record;
 * to finish: number of the event, the one after it, ids of what has ended as JSON: they may be more than a call can have arguments.
 */
export const CHECKPOINT = script(`${FENCE}
local known = redis.call('HMGET', KEYS[1], 'slice', 'records')
local slice = tonumber(known[1] or '0')
if tonumber(ARGV[3]) < slice then return {'fenced', 'a later slice is there'} end
if slice < tonumber(ARGV[4]) or tonumber(shard[3]) < tonumber(ARGV[5]) then return {'fenced', 'the journal went back in time'} end
if known[2] and tonumber(known[2]) ~= redis.call('HLEN', KEYS[3]) then return {'fenced', 'the checkpoint is gone'} end
local finish = 7 + 2 * tonumber(ARGV[6])
-- What fails half-way leaves what was written: so it is read before anything is.
local ended = ARGV[finish] and cjson.decode(ARGV[finish + 2])
redis.call('HSET', KEYS[1], 'slice', ARGV[3])
for at = 7, finish - 2, 2 do
  redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
end
if ended then
  local before = redis.call('HGET', KEYS[1], 'checkpoint_seq')
  if tonumber(ARGV[finish]) > tonumber(before) then
    redis.call('HSET', KEYS[1], 'checkpoint_seq', ARGV[finish])
    redis.call('XTRIM', KEYS[2], 'MINID', ARGV[finish + 1])
  end
  for from = 1, #ended, 1000 do
    redis.call('HDEL', KEYS[3], unpack(ended, from, math.min(from + 999, #ended)))
  end
end
redis.call('HSET', KEYS[1], 'records', redis.call('HLEN', KEYS[3]))
return {'kept'}
`);

/**
 * No ARGV, no fence. Where the journal ends, where it is read from, whether it is there, how many workflows the checkpoint has and how many it should have:
 * all of one moment.
 */
export const READ = script(`
local shard = redis.call('HMGET', KEYS[1], 'last_seq', 'checkpoint_seq', 'records')
local records = redis.call('HLEN', KEYS[3])
return {shard[1] or '0', shard[2] or '0', redis.call('EXISTS', KEYS[2]), records, shard[3] or records}
`);
