#!lua flags=no-writes
-- Lists the queues that hold something, and counts the groups, of one step of a scan. A queue may be listed in parts.
-- reply: {cursor, groups, queue, entries, ...}   the next step's cursor, "0" after the last one; how many groups this
--   one found; then queues, each with how many entries this one found in it
local schema_key = KEYS[1] -- [string]  <prefix>schema, which tells where to run
local prefix     = ARGV[1] -- [text]    of every key
local cursor     = ARGV[2] -- [text]    "0" at first, then what the step before said
local count      = ARGV[3] -- [int]     about how many keys to look at
-- @include "lib/pattern"
-- A prefix as part of a pattern, in which it means itself.
local function pattern_of(prefix)
    return (string.gsub(prefix, '[%*%?%[%]%\\%^%-]', '\\%0'))
end

-- The keys of a layer with a longer prefix may look like ours, but no name has a colon in it.
local function is_name(name)
    return not string.find(name, ':', 1, true)
end

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbog]:*', 'COUNT', count)
local length = {q = 'LLEN', b = 'ZCARD', o = 'LLEN'}
local groups = 0
local reply = {step[1], 0}
for _, key in ipairs(step[2]) do
    local kind, name = string.sub(key, #prefix + 1, #prefix + 1), string.sub(key, #prefix + 3)
    if is_name(name) then
        if kind == 'g' then
            groups = groups + 1
        else
            local entries = redis.pcall(length[kind], key)
            if type(entries) == 'number' and entries > 0 then
                reply[#reply + 1] = name
                -- The first element of what a drain has taken is no entry.
                reply[#reply + 1] = kind == 'o' and entries - 1 or entries
            end
        end
    end
end
reply[2] = groups
return reply
