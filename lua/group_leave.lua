#!lua flags=allow-oom
-- Takes a channel out of all its groups, in steps of at most 200 groups of its queue. Each step is a change, as those of
-- group_change are.
-- reply: {"ok", cursor, removed, now, n}   the next step's cursor, empty after the last one; how many groups it left in this
--   one; the server's time in µs; the number of this change of the inbox, of other queues 0
-- reply: {"stale"}   nothing was done: the call came over a connection that the client has since replaced
local memberships_key = KEYS[1] -- [zset]                            <prefix>s:<queue>
local inbox_key       = KEYS[2] -- [hash]                            <prefix>i:<queue>
local queue_key       = KEYS[3] -- [list]                            <prefix>q:<queue>
local prefix          = ARGV[1] -- [prefix]                          of every key
local queue           = ARGV[2] -- [name]                            the channel's queue
local address         = ARGV[3] -- [name or empty]                   its address inside the inbox, or empty
local client          = ARGV[4] -- [name or empty]                   the client that calls; else empty
local generation      = ARGV[5] -- [int 0..999999999999 or empty]    of the client's connection; else empty
local call            = ARGV[6] -- [int 0..999999999999999 or empty] higher with each change, page and sign of life of this client; else empty
local cursor          = ARGV[7] -- [text]                            empty at first, then what the step before returned
-- @include "lib/change"
-- @include "lib/clock"
-- @include "lib/fence"
-- @include "lib/page"
-- @include "lib/refuse"
-- @include "lib/rights"

local denied = client == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

local MAX_GROUPS = 200

if is_inbox(queue) == (address == '') then
    return refuse('group_leave', 'ARGV[3] address', address, 'a name where the queue is an inbox, and else empty')
elseif client ~= '' and call == '' then
    return refuse('group_leave', 'ARGV[6] call', call, 'a whole number, as a client gives it')
end
if is_stale(prefix, client, generation) then
    return {'stale'}
end
local microseconds, now = clock()
local change, why = begin_change(prefix, queue, 0, microseconds, now)
if not change then
    return redis.error_reply(why)
end
local groups, next_cursor = page_of(memberships_key, cursor, MAX_GROUPS)
if cursor == '' then
    -- The owner may have groups that the server has lost.
    change.parts[1] = '*' .. address
end
for _, group in ipairs(groups) do
    local deadline = redis.pcall('ZSCORE', members_key(prefix, group, queue), address)
    if deadline and not deadline.err then
        why = leave(change, group, address)
        change.parts[#change.parts + 1] = '-' .. group .. ' ' .. address
    end
end
local n
why, n = end_change(change, client, call)
if why then
    return redis.error_reply(why)
end
return {'ok', next_cursor, change.left, microseconds, tonumber(n)}
