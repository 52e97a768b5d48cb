#!lua
-- Changes the memberships of one queue: its members join groups and leave them, any number in any order. The owner of an
-- inbox learns of it, its own changes too, by one entry in the inbox, in order with the messages.
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
local operations, first_operation = ARGV, 7 -- [0..3500 text...]                 of each operation its kind, the group, the address inside the inbox or empty, and a time: `+` joins for so many ms; `-` leaves; and by the owner to put right what the server has: `a` joins until then, in ms of the server, unless it is in or its group was flushed after a change, `<end> <n>`; `s` stays until then if its membership ends at a second time, `<end> <seen>`; `x` leaves if its membership ends then; `e` begins to count anew. Behind the time of a `+`, `a` or `s` ` =<label>` may stand
-- @include "lib/make_change"
-- @include "lib/rights"

local denied = client == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

return make_change('group_change', prefix, queue, client, generation, call, capacity, operations, first_operation)
