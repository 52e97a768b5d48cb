#!lua flags=allow-oom
-- As group_change, for operations that take no memory: `-`, `x` and `e` alone. A server that is full does them too.
-- reply: {"ok", now, n, left, place, error, ...}   the server's time in µs; the number of this change of the inbox, of
--   other queues 0; how many were in that left; then the operations that failed, counted from 1, and why: they did nothing
-- reply: {"stale"}   nothing was done: the call came over a connection that the client has since replaced
local inbox_key       = KEYS[1]             -- [hash]                            <prefix>i:<queue>
local queue_key       = KEYS[2]             -- [list]                            <prefix>q:<queue>
local memberships_key = KEYS[3]             -- [zset]                            <prefix>s:<queue>
local prefix          = ARGV[1]             -- [prefix]                          of every key
local queue           = ARGV[2]             -- [name]                            the queue of the members
local client          = ARGV[3]             -- [name or empty]                   the client that calls; else empty
local generation      = ARGV[4]             -- [int 0..999999999999 or empty]    of the client's connection; else empty
local call            = ARGV[5]             -- [int 0..999999999999999 or empty] higher with each change, page and sign of life of this client; else empty
local capacity        = ARGV[6]             -- [int 0..9999999999]               how many messages the queue holds
local operations, first_operation = ARGV, 7 -- [0..3500 text...]                 of each operation its kind, the group, the address inside the inbox or empty, and a time, as of group_change
-- @include "lib/make_change"
-- @include "lib/rights"

local denied = client == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

for slot = first_operation, #operations, OPERATION_SLOTS do
    local kind = operations[slot]
    if kind == '+' or kind == 'a' or kind == 's' then
        return refuse('group_discard', 'ARGV[' .. slot .. '] kind of operation ' .. (slot - first_operation) / OPERATION_SLOTS + 1, kind,
            '-, x or e: what may need memory is for group_change')
    end
end
return make_change('group_discard', prefix, queue, client, generation, call, capacity, operations, first_operation)
