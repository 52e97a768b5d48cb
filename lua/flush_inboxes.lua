#!lua flags=allow-oom
-- Tells the owners of inboxes that all groups are gone, in one step of a scan. It runs after all steps of flush, which
-- removed the groups. What an owner, who was not told yet, has put right meanwhile is removed here, in the step that tells it.
-- reply: {cursor, told}   the next step's cursor, "0" after the last one; how many owners this step told
-- reply: {"more"}   nobody was told: more is to be removed first, so this step is to be made again
local schema_key = KEYS[1]           -- [string]                 <prefix>schema, which tells where to run
local prefix     = ARGV[1]           -- [prefix]                 of every key
local cursor     = ARGV[2]           -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = tonumber(ARGV[3]) -- [int 1..1000000]         about how many keys to look at
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/key"
-- @include "lib/pattern"
-- @include "lib/remove_groups"
-- @include "lib/write_control"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS) or denied_command(prefix, {'SCAN 0', 'TYPE s:'})
if denied then
    return redis.error_reply(no_right(denied))
end

-- So many memberships of inboxes in groups are removed at most.
local ENOUGH = 500

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. 'i:*', 'COUNT', count)
local inboxes, room = {}, ENOUGH
for _, key in ipairs(step[2]) do
    local inbox = name_of(key, prefix)
    local state = is_name(inbox) and is_inbox(inbox) and inbox_state(key)
    if state then
        inboxes[#inboxes + 1] = {inbox, state}
        -- Another program's key there keeps no owner from being told.
        if redis.call('TYPE', groups_key(prefix, inbox)).ok == 'zset' then
            local removed, has_more = remove_groups(prefix, inbox, room)
            room = room - removed
            if has_more or room == 0 then
                return {'more'}
            end
        end
    end
end

local microseconds, now = clock()
local told = 0
for _, found in ipairs(inboxes) do
    local inbox, state = found[1], found[2]
    -- A change with a number, so that an owner who misses the entry finds the gap, and repairs from before it are refused.
    local n = string.format('%.0f', (tonumber(state[N] or nil) or 0) + 1)
    local fields = {'n', n, 'by', ':', 'flushed', n}
    if not write_control(prefix, inbox, state, 'f', microseconds, now, fields) then
        told = told + 1
    end
end
return {step[1], told}
