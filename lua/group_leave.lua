#!lua flags=allow-oom
-- Takes a channel out of all its groups, in steps of at most 500 groups of its queue.
-- reply: {"ok", cursor, removed}   the next step's cursor, empty after the last one; how many groups it left in this one
-- reply: {"stale"}   nothing was done: the call came over a connection that the client has since replaced
local groups     = KEYS[1] -- [zset]  <prefix>s:<queue>
local prefix     = ARGV[1] -- [text]  of every key
local queue      = ARGV[2] -- [text]  the channel's queue
local address    = ARGV[3] -- [text]  its address inside the inbox, or empty
local client     = ARGV[4] -- [text]  the client that calls; else empty
local generation = ARGV[5] -- [int]   of the client's connection; else empty
local cursor     = ARGV[6] -- [text]  empty at first, then what the step before said
-- @include "lib/clock"
-- @include "lib/fence"
-- @include "lib/page"
-- @include "lib/remove_member"

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local microseconds, now = clock()
local page, next_cursor = page_of(groups, cursor, 500)
local removed = 0
for place, group in ipairs(page) do
    if remove_member(prefix, group, queue, address, false, microseconds, place, now) then
        removed = removed + 1
    end
end
return {'ok', next_cursor, removed}
