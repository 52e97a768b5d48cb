#!lua flags=allow-oom
-- Lists the queues that hold something, and counts the groups, of one step of a scan. A queue may be listed in parts.
-- reply: {cursor, groups, queue, entries, ...}   the next step's cursor, "0" after the last one; how many groups this
--   step found; then queues, each with how many entries this step found in it
local schema_key = KEYS[1] -- [string]                 <prefix>schema, which tells where to run
local prefix     = ARGV[1] -- [prefix]                 of every key
local cursor     = ARGV[2] -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = ARGV[3] -- [int 1..1000000]         about how many keys to look at
-- @include "lib/key"
-- @include "lib/pattern"

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbog]:*', 'COUNT', count)
local length_command = {q = 'LLEN', b = 'ZCARD', o = 'LLEN'}
local groups = 0
local reply = {step[1], 0}
for _, key in ipairs(step[2]) do
    local kind, name = kind_of(key, prefix), name_of(key, prefix)
    if is_name(name) then
        if kind == 'g' then
            groups = groups + 1
        else
            local entries = redis.pcall(length_command[kind], key)
            if type(entries) == 'number' and entries > 0 then
                reply[#reply + 1] = name
                -- The first element of the list that a drain keeps aside is no entry.
                reply[#reply + 1] = kind == 'o' and entries - 1 or entries
            end
        end
    end
end
reply[2] = groups
return reply
