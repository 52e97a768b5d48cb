#!lua
-- Adds members to a group, or renews the memberships of those that are in. The owner of an inbox is told of its new
-- members by an entry in the inbox, in order with the messages.
-- reply: {"ok", now}   the server's time in µs; the memberships end so long after it as the call says
-- reply: {"stale"}   nothing was done: the client says this on a connection that it has since replaced
local index               = KEYS[1]  -- [zset]     <prefix>g:<group>
local prefix              = ARGV[1]  -- [text]     of every key
local group               = ARGV[2]  -- [text]     the group's name
local client              = ARGV[3]  -- [text]     the client that says this; else empty
local generation          = ARGV[4]  -- [int]      of the client's connection; else empty
local mode                = ARGV[5]  -- [text]     "set"; or by an owner for its own members, which is not told then: "keep", a membership that lasts longer stays as it is; "renew", so does one that is none
local members, first_member = ARGV, 6 -- [text...] of each member its queue, its address inside the inbox or empty, its queue's capacity, and the ms until its membership ends
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/fence"
-- @include "lib/groups"
-- @include "lib/limits"
-- @include "lib/tell_owner"

-- So many memberships that have ended are removed with each that begins.
local PRUNED = '16'

local too_large = refuse_too_large(1, #members)
if too_large then
    return too_large
end

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local microseconds, now = clock()

local function add(queue, address, capacity, left, place)
    local key = members_key(prefix, group, queue)
    local deadline = now + tonumber(left)
    if mode == 'renew' and not redis.call('ZSCORE', key, address) then
        return
    end
    local told = mode == 'set' and is_inbox(queue)
    local before = told and tonumber(redis.call('ZSCORE', key, address) or nil) or 0
    local joined
    if mode ~= 'set' then
        joined = redis.call('ZADD', key, 'GT', deadline, address)
    else
        joined = redis.call('ZADD', key, deadline, address)
    end
    local members = redis.call('ZCARD', key)
    if members > 1 then
        local ended = redis.call('ZRANGE', key, '-inf', now, 'BYSCORE', 'LIMIT', '0', PRUNED)
        if #ended > 0 then
            redis.call('ZREM', key, unpack(ended))
        end
    end
    keep_key(key, left)

    local rows, groups = rows_key(prefix, group), groups_key(prefix, queue)
    -- A queue of one channel has no other member that may stay longer.
    local alone = mode == 'set' and not is_inbox(queue)
    local until_now = not alone and read_row(redis.call('HGET', rows, queue) or nil) or 0
    -- Each is given its end at once, should the next be of another's making; the index comes last.
    redis.call('ZADD', groups, '0', group)
    keep_key(groups, left)
    redis.call('HSET', rows, queue, row(math.max(until_now, deadline), capacity, now))
    keep_key(rows, left)
    redis.call('ZADD', index, '0', queue)
    keep_key(index, left)

    if told then
        local header = entry_time(microseconds) .. entry_place(place) .. entry_time(deadline)
        local kind = joined == 1 and members == 1 and '=' or '+'
        -- Who is told late of a membership that is shorter now would still know the longer one.
        tell_owner(prefix, queue, header, kind .. group .. ' ' .. address, math.max(deadline, before) - now, now)
    end
end

for slot = first_member, #members, 4 do
    add(members[slot], members[slot + 1], tonumber(members[slot + 2]), members[slot + 3], slot)
end
return {'ok', microseconds}
