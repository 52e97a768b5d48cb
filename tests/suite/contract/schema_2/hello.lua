#!lua flags=allow-oom
-- Begins a connection of a client: what it wrote on an earlier one and is still on its way is refused from now on.
-- reply: {"ok", now, known}   the server's time in ms; 1 if the server still knew this client, else 0
-- reply: {"stale", generation}   the generation is not higher than the one the server knows
-- reply: {"schema", schema}   the data here are of another schema
local client     = KEYS[1]           -- [hash]    <prefix>c:<client>
local schema_key = KEYS[2]           -- [string]  <prefix>schema
local generation = tonumber(ARGV[1]) -- [int]     higher with every connection of this client
local lease      = tonumber(ARGV[2]) -- [int]     ms without a sign of life, at most an hour, after which its tickets no longer wait
local schema     = ARGV[3]           -- [int]     the schema that the client reads and writes
-- @include "lib/clock"
-- The server's clock, in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/lease"
-- A client is remembered for an hour past its lease, or a late command of an old connection would be taken for a
-- new one; and for as long as it was handed a message. So the time is only ever extended.
local MEMORY = 3600000

-- A waiting line lives for an hour too after a ticket came into it. Every lease is shorter, so whoever still waits
-- comes again before the line ends.
local function bounded_lease(lease)
    return math.min(lease, MEMORY)
end

local function keep_client(client, lease, new)
    if new then
        redis.call('PEXPIRE', client, lease + MEMORY)
    else
        redis.call('PEXPIRE', client, lease + MEMORY, 'GT')
    end
end

local function keep_handed(client, deadline, now)
    if deadline - now > MEMORY then
        redis.call('PEXPIRE', client, deadline - now, 'GT')
    end
end

local stored_schema = redis.call('GET', schema_key)
if not stored_schema then
    redis.call('SET', schema_key, schema)
elseif stored_schema ~= schema then
    return {'schema', stored_schema}
end

local known = redis.call('HGET', client, 'g')
if known and tonumber(known) >= generation then
    return {'stale', tonumber(known)}
end

local _, now = clock()
lease = bounded_lease(lease)
redis.call('HSET', client, 'g', generation, 'lease', now + lease)
keep_client(client, lease, not known)
return {'ok', now, known and 1 or 0}
