#!lua flags=allow-oom
-- Ends an inbox: takes its members out of their groups, in steps of at most 100 groups, then removes the inbox with all
-- that waits in it.
-- reply: {groups}   how many groups are left for further steps; 0 when the inbox is gone
-- reply: {"taken"}   nothing was done: another client owns the inbox
local inbox_key = KEYS[1] -- [hash]   <prefix>i:<inbox>
local prefix    = ARGV[1] -- [prefix] of every key
local inbox     = ARGV[2] -- [name]   its name
local owner     = ARGV[3] -- [name]   the client that reads it
-- @include "lib/refuse"
-- @include "lib/remove_groups"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

local MAX_GROUPS = 100

if not is_inbox(inbox) then
    return refuse('inbox_close', 'ARGV[2] inbox', inbox, 'a name that ends in "!"')
end
local known = redis.call('HGET', inbox_key, 'owner')
if known and known ~= owner then
    return {'taken'}
end
remove_groups(prefix, inbox, MAX_GROUPS)
local left = redis.call('ZCARD', groups_key(prefix, inbox))
if left == 0 then
    redis.call('UNLINK', inbox_key, prefix .. 'q:' .. inbox, prefix .. 'f:' .. inbox)
end
return {left}
