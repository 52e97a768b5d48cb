#!lua flags=no-writes
-- Counts the members of a group, in steps of at most 1,000 queues, without walking them.
-- reply: {cursor, members}   the next step's cursor, empty after the last one; how many members this one counted
local index  = KEYS[1]           -- [zset]  <prefix>g:<group>
local prefix = ARGV[1]           -- [text]  of every key
local group  = ARGV[2]           -- [text]  the group's name
local cursor = ARGV[3]           -- [text]  empty at first, then what the step before said
local enough = tonumber(ARGV[4]) -- [int]   so many members end the count: 1 asks whether there is any
-- @include "lib/clock"
-- @include "lib/groups"
-- @include "lib/page"

local _, now = clock()
local queues, next_cursor = page_of(index, cursor, 1000)
local members = 0
for _, queue in ipairs(queues) do
    if is_alive(prefix, queue, now) then
        members = members + redis.call('ZCOUNT', members_key(prefix, group, queue), '(' .. string.format('%.0f', now), '+inf')
        if members >= enough then
            return {'', members}
        end
    end
end
return {next_cursor, members}
