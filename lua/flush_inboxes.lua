#!lua flags=allow-oom
-- Tells the owners of inboxes that all groups are gone, in one step of a scan. It runs after all steps of flush, which
-- removed the groups.
-- reply: {cursor, told}   the next step's cursor, "0" after the last one; how many owners this step told
local schema_key = KEYS[1]           -- [string]                 <prefix>schema, which tells where to run
local prefix     = ARGV[1]           -- [prefix]                 of every key
local cursor     = ARGV[2]           -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = tonumber(ARGV[3]) -- [int 1..1000000]         about how many keys to look at
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/key"
-- @include "lib/pattern"
-- @include "lib/write_control"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS) or denied_command(prefix, {'SCAN 0'})
if denied then
    return redis.error_reply(no_right(denied))
end

local microseconds, now = clock()
local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. 'i:*', 'COUNT', count)
local told = 0
for _, key in ipairs(step[2]) do
    local inbox = name_of(key, prefix)
    if is_name(inbox) and is_inbox(inbox) then
        local state = inbox_state(key)
        if state and not write_control(prefix, inbox, state, 'f', microseconds, now, {}) then
            told = told + 1
        end
    end
end
return {step[1], told}
