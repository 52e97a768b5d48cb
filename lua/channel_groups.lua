#!lua flags=allow-oom
-- Lists the groups of a channel, in steps of at most 1,000 groups of its queue.
-- reply: {cursor, group, ...}   the next step's cursor, empty after the last one; and groups that the channel is in
local memberships_key = KEYS[1] -- [zset]          <prefix>s:<queue>
local prefix          = ARGV[1] -- [prefix]        of every key
local queue           = ARGV[2] -- [name]          the channel's queue
local address         = ARGV[3] -- [name or empty] its address inside the inbox, or empty
local cursor          = ARGV[4] -- [text]          empty at first, then what the step before returned
-- @include "lib/clock"
-- @include "lib/groups"
-- @include "lib/page"

local MAX_GROUPS = 1000

local _, now = clock()
if not is_alive(prefix, queue, now) then
    return {''}
end
local page, next_cursor = page_of(memberships_key, cursor, MAX_GROUPS)
local member_of = {}
for _, group in ipairs(page) do
    local deadline = redis.call('ZSCORE', members_key(prefix, group, queue), address)
    if deadline and tonumber(deadline) > now then
        member_of[#member_of + 1] = group
    end
end
return {next_cursor, unpack(member_of)}
