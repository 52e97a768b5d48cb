#!lua flags=allow-oom
-- Tells the owners of inboxes, of one step of a scan, to read their groups again: after all steps of flush they are gone.
-- reply: {cursor, told}   the next step's cursor, "0" after the last one; how many owners were told in this one
local schema_key = KEYS[1]           -- [string]  <prefix>schema, which tells where to run
local prefix     = ARGV[1]           -- [text]    of every key
local cursor     = ARGV[2]           -- [text]    "0" at first, then what the step before said
local count      = tonumber(ARGV[3]) -- [int]     about how many keys to look at
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/pattern"
-- @include "lib/tell_owner"

local microseconds, now = clock()
local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. 'i:*', 'COUNT', count)
local told = 0
for place, key in ipairs(step[2]) do
    local inbox = string.sub(key, #prefix + 3)
    if is_name(inbox) and is_inbox(inbox) then
        local header = entry_time(microseconds) .. entry_place(place) .. entry_time(FAR_FUTURE)
        tell_owner(prefix, inbox, header, 'r', DAY, now)
        told = told + 1
    end
end
return {step[1], told}
