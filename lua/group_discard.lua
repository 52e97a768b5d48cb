#!lua flags=allow-oom
-- Takes members out of a group. Who is not in it is no error.
-- reply: {"ok", removed}   how many were in
-- reply: {"stale"}   nothing was done: the call came over a connection that the client has since replaced
local index               = KEYS[1]  -- [zset]     <prefix>g:<group>
local prefix              = ARGV[1]  -- [text]     of every key
local group               = ARGV[2]  -- [text]     the group's name
local client              = ARGV[3]  -- [text]     the client that calls; else empty
local generation          = ARGV[4]  -- [int]      of the client's connection; else empty
local mode                = ARGV[5]  -- [text]     "tell", or "quiet" by an owner for its own members: the owner is not told
local members, first_member = ARGV, 6 -- [text...] of each member its queue, and its address inside the inbox or empty
-- @include "lib/clock"
-- @include "lib/fence"
-- @include "lib/limits"
-- @include "lib/remove_member"

local too_large = refuse_too_large(1, #members)
if too_large then
    return too_large
end

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local microseconds, now = clock()
local removed = 0
for slot = first_member, #members, 2 do
    if remove_member(prefix, group, members[slot], members[slot + 1], mode == 'quiet', microseconds, slot, now) then
        removed = removed + 1
    end
end
return {'ok', removed}
