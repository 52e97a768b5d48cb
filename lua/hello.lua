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
-- @include "lib/lease"

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
