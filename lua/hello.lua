#!lua flags=allow-oom
-- Begins a connection of a client: calls that are still on their way over an earlier connection are refused from now on.
-- reply: {"ok", now, known}   the server's time in ms; 1 if the server still knew this client, else 0
-- reply: {"stale", generation}   the generation is not higher than the one the server knows
-- reply: {"schema", schema}   the data here are of another schema
local client_key = KEYS[1]           -- [hash]                <prefix>c:<client>
local schema_key = KEYS[2]           -- [string]              <prefix>schema
local generation = tonumber(ARGV[1]) -- [int 0..999999999999] higher with every connection of this client
local lease      = tonumber(ARGV[2]) -- [int 1..3600000 ms]   ms without a sign of life, at most an hour, after which its tickets no longer wait
local schema     = ARGV[3]           -- [int 1..999999]       the schema that the client reads and writes
-- @include "lib/clock"
-- @include "lib/lease"
-- @include "lib/rights"

local denied = denied_command(string.sub(schema_key, 1, -7), COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

local stored_schema = redis.call('GET', schema_key)
if stored_schema and stored_schema ~= schema then
    return {'schema', stored_schema}
end

local known = redis.pcall('HGET', client_key, 'g')
if type(known) == 'table' or known and not string.find(known, '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') then
    -- Another program put something else in the place of the client's record or its generation: it begins anew.
    redis.call('UNLINK', client_key)
    known = false
end
if known and (tonumber(known) or 0) >= generation then
    return {'stale', tonumber(known)}
end

local _, now = clock()
if not stored_schema then
    redis.call('SET', schema_key, schema)
end
redis.call('HSET', client_key, 'g', generation, 'lease', now + lease)
keep_client(client_key, lease, not known)
return {'ok', now, known and 1 or 0}
