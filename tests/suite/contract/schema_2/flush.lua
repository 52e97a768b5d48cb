#!lua flags=allow-oom
-- Removes the messages and groups of one step of a scan. Clients, their waiting tickets and their inboxes stay.
-- reply: {cursor, removed}   the next step's cursor, "0" after the last one; how many keys went in this one
local schema_key = KEYS[1]           -- [string]  <prefix>schema, which stays: it tells where to run
local prefix     = ARGV[1]           -- [text]    of every key
local cursor     = ARGV[2]           -- [text]    "0" at first, then what the step before said
local count      = tonumber(ARGV[3]) -- [int]     about how many keys to look at
-- @include "lib/pattern"
-- A prefix as part of a pattern, in which it means itself.
local function pattern_of(prefix)
    return (string.gsub(prefix, '[%*%?%[%]%\\%^%-]', '\\%0'))
end

-- The keys of a layer with a longer prefix may look like ours, but no name has a colon in it.
local function is_name(name)
    return not string.find(name, ':', 1, true)
end

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbgdmso]:*', 'COUNT', count)
local types = {q = 'list', b = 'zset', g = 'zset', d = 'hash', m = 'zset', s = 'zset', o = 'list'}
local removed = 0
for _, key in ipairs(step[2]) do
    local kind = string.sub(key, #prefix + 1, #prefix + 1)
    if is_name(string.sub(key, #prefix + 3)) and redis.call('TYPE', key).ok == types[kind] then
        removed = removed + redis.call('UNLINK', key)
    end
end
return {step[1], removed}
