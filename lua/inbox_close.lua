#!lua flags=allow-oom
-- Ends an inbox: takes its members out of their groups, in steps of at most 100 groups, then removes it with all that
-- waits in it.
-- reply: {groups}   how many groups are left for further steps; 0 when the inbox is gone
-- reply: {"taken"}   nothing was done: another client owns the inbox
local inbox_key = KEYS[1] -- [hash]  <prefix>i:<inbox>
local prefix    = ARGV[1] -- [text]  of every key
local inbox     = ARGV[2] -- [text]  its name
local owner     = ARGV[3] -- [text]  the client that reads it
-- @include "lib/groups"
-- @include "lib/page"

local known = redis.call('HGET', inbox_key, 'owner')
if known and known ~= owner then
    return {'taken'}
end
local groups = groups_key(prefix, inbox)
for _, group in ipairs((page_of(groups, '', 100))) do
    remove_queue(prefix, group, inbox)
end
local left = redis.call('ZCARD', groups)
if left == 0 then
    redis.call('UNLINK', inbox_key, prefix .. 'q:' .. inbox, prefix .. 'f:' .. inbox)
end
return {left}
