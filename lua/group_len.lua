#!lua flags=allow-oom
-- Counts the members of a group, in steps of at most 1,000 queues, without a visit to each member.
-- reply: {cursor, members}   the next step's cursor, empty after the last one; how many members this step counted
local group_key = KEYS[1]           -- [zset]              <prefix>g:<group>
local prefix    = ARGV[1]           -- [prefix]            of every key
local group     = ARGV[2]           -- [name]              the group's name
local cursor    = ARGV[3]           -- [text]              empty at first, then what the step before returned
local enough    = tonumber(ARGV[4]) -- [int 0..9007199254740991] the step ends after so many members: 1 asks whether there is any
-- @include "lib/clock"
-- @include "lib/groups"
-- @include "lib/page"

local MAX_QUEUES = 1000

local _, now = clock()
local queues, next_cursor = page_of(group_key, cursor, MAX_QUEUES)
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
