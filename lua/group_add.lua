#!lua
-- Adds members to a group, or renews the memberships of those that are in. The owner of an inbox is told of its new
-- members by an entry in the inbox, in order with the messages.
-- reply: {"ok", now}   the server's time in µs; the memberships end so long after it as the call asks
-- reply: {"stale"}   nothing was done: the call came over a connection that the client has since replaced
local index               = KEYS[1]  -- [zset]     <prefix>g:<group>
local prefix              = ARGV[1]  -- [text]     of every key
local group               = ARGV[2]  -- [text]     the group's name
local client              = ARGV[3]  -- [text]     the client that calls; else empty
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

-- Where a queue and a group meet for the first time, one addition in so many looks at twice as many others, chosen at
-- random. So no more than half of what is there has ended, and most additions pay nothing for it.
local EVERY, LOOKED_AT = 8, '-16'

-- Removes groups in which a queue has no member any more.
local function forget_ended_groups(groups, queue)
    local names, keys = redis.call('ZRANDMEMBER', groups, LOOKED_AT), {}
    for number, name in ipairs(names) do
        keys[number] = members_key(prefix, name, queue)
    end
    if #names == 0 or redis.call('EXISTS', unpack(keys)) == #names then
        return
    end
    for number, name in ipairs(names) do
        if redis.call('EXISTS', keys[number]) == 0 then
            remove_queue(prefix, name, queue)
        end
    end
end

-- Removes queues that have no member in the group any more.
local function forget_ended_queues(rows)
    local queues = redis.call('ZRANDMEMBER', index, LOOKED_AT)
    for number, text in ipairs(#queues > 0 and redis.call('HMGET', rows, unpack(queues)) or {}) do
        local deadline = read_row(text or nil)
        if not deadline or deadline <= now then
            remove_queue(prefix, group, queues[number])
        end
    end
end

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
    local is_new_group = redis.call('ZADD', groups, '0', group) == 1
    keep_key(groups, left)
    redis.call('HSET', rows, queue, row(math.max(until_now, deadline), capacity, now))
    keep_key(rows, left)
    local is_new_queue = redis.call('ZADD', index, '0', queue) == 1
    keep_key(index, left)
    local looks = (microseconds + math.floor(place / 4)) % EVERY == 0
    if looks and is_new_group then
        forget_ended_groups(groups, queue)
    end
    if looks and is_new_queue then
        forget_ended_queues(rows)
    end

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
