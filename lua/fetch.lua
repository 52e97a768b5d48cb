#!lua flags=allow-oom
-- Gives what an open ticket was handed, whole, where pop only announced it. It changes nothing, so it may come late, and over
-- another connection than the one that listens.
-- reply: {"ok", queue, entry}   as pop gives it; of an inbox a list of entries stands in place of the entry
-- reply: {"ok"}   the ticket holds nothing of this queue that is still good: ask for the ticket with pop
-- reply: {"stale"}   the generation is not the client's, or no longer, or its lease is over
local client_key = KEYS[1] -- [hash]                   <prefix>c:<client>
local queue_key  = KEYS[2] -- [list]                   <prefix>q:<queue> of what was announced
local prefix     = ARGV[1] -- [prefix]                 of every key
local generation = ARGV[2] -- [int 0..999999999999]    of the client's connection
local ticket     = ARGV[3] -- [int 0..999999999999999] its number
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/key"
-- @include "lib/record"
-- @include "lib/batch"

local _, now = clock()
local state = redis.pcall('HMGET', client_key, 'g', 'lease', ticket)
if state[1] ~= generation or (tonumber(state[2] or nil) or 0) <= now then
    return {'stale'}
end
local queue, record = name_of(queue_key, prefix), state[3] or ''
if was_batch(record) == queue then
    local entries = same_batch(prefix, record, now)
    return entries and {'ok', queue, entries} or {'ok'}
end
local _, from, entry = was_handed(record)
if from == queue and entry_deadline(entry) > now then
    return {'ok', queue, entry}
end
return {'ok'}
