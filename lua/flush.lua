#!lua flags=allow-oom
-- Removes the messages and groups of one step of a scan. Clients, their waiting tickets and their inboxes stay.
-- reply: {cursor, removed}   the next step's cursor, "0" after the last one; how many keys this step removed
local schema_key = KEYS[1]           -- [string]                 <prefix>schema, which stays; it tells where to run
local prefix     = ARGV[1]           -- [prefix]                 of every key
local cursor     = ARGV[2]           -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = tonumber(ARGV[3]) -- [int 1..1000000]         about how many keys to look at
-- @include "lib/key"
-- @include "lib/pattern"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS) or denied_command(prefix, {'SCAN 0', 'TYPE q:'})
if denied then
    return redis.error_reply(no_right(denied))
end

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbgdmslo]:*', 'COUNT', count)
local types = {q = 'list', b = 'zset', g = 'zset', d = 'hash', m = 'zset', s = 'zset', l = 'hash', o = 'list'}
local removed = 0
for _, key in ipairs(step[2]) do
    if is_name(name_of(key, prefix)) and redis.call('TYPE', key).ok == types[kind_of(key, prefix)] then
        removed = removed + redis.call('UNLINK', key)
    end
end
return {step[1], removed}
