#!lua
-- Sends entries, each to the ticket that waits longest for its queue, else to the end of the queue, unless the
-- queue is full.
-- reply: "sent"   all entries were accepted
-- reply: {"sent", place, live, place, live, ...}   for each refused entry its place in the call, from 1, and how
--   many live messages wait in its queue, or the error that its queue gave; all other entries were accepted
-- reply: {"stale"}   nothing was sent: the client says this on a connection that it has since replaced
local queues, first_queue = KEYS, 1           -- [list...]  <prefix>q:<queue>, each once
local prefix              = ARGV[1]           -- [text]     of every key
local expiry              = ARGV[2]           -- [int]      ms that the messages may wait
local client              = ARGV[3]           -- [text]     the client, for queues whose order counts; else empty
local generation          = ARGV[4]           -- [int]      of the client's connection; else empty
local entries, first_entry = ARGV, 5          -- [bytes...] for each queue its capacity, the count n of its bodies, n bodies
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/limits"

local too_large = refuse_too_large(#queues, #entries)
if too_large then
    return too_large
end

if client ~= '' and redis.call('HGET', prefix .. 'c:' .. client, 'g') ~= generation then
    return {'stale'}
end

local microseconds, now = clock()
local deadline = now + expiry

-- First the queues that have messages and room for more, which is what most sends find: nobody waits for those.
-- One concatenation an entry, for making a string is most of its cost.
local pushed, dies = entry_time(microseconds), entry_time(deadline)
local others = {}
local place = 0
local slot = first_entry
for number = first_queue, #queues do
    local queue, capacity, count = queues[number], tonumber(entries[slot]), tonumber(entries[slot + 1])
    local batch = {}
    for i = 1, count do
        batch[i] = pushed .. entry_place(place + i) .. dies .. entries[slot + 1 + i]
    end
    local length = redis.pcall('RPUSHX', queue, unpack(batch))
    if type(length) == 'number' and length > 0 and length <= capacity then
        redis.call('PEXPIRE', queue, expiry, 'GT')
    else
        others[#others + 1] = {queue, capacity, batch, length, place}
    end
    place = place + count
    slot = slot + 2 + count
end
if #others == 0 then
    -- A text costs the server half of what a list does.
    return 'sent'
end

-- Below this a send pays for the functions too, which the server makes anew for each call.
-- @include "lib/hand_over"
-- @include "lib/make_room"

-- Sends a batch to a queue that was empty, or that it made too long; says how many of its last entries were refused,
-- and how many wait or what failed.
local function send(queue, capacity, batch, length)
    if type(length) == 'table' then
        return #batch, length.err
    end
    local handed = 0
    local existed = length > 0
    if not existed then
        local name = string.sub(queue, #prefix + 3)
        while handed < #batch and hand_over(prefix, name, batch[handed + 1], now) do
            handed = handed + 1
        end
        if handed == #batch then
            return 0
        end
        length = redis.call('RPUSH', queue, unpack(batch, handed + 1))
    end

    local refused = 0
    if length > capacity then
        length = make_room(prefix, queue, length, capacity, now)
        refused = math.max(0, math.min(length - capacity, #batch - handed))
        if refused > 0 then
            redis.call('RPOP', queue, refused)
        end
    end
    if refused < #batch - handed then
        if existed then
            redis.call('PEXPIRE', queue, expiry, 'GT')
        else
            redis.call('PEXPIRE', queue, expiry)
        end
    end
    return refused, length - refused
end

local reply = {'sent'}
for _, other in ipairs(others) do
    local queue, capacity, batch, length, before = unpack(other)
    local refused, why = send(queue, capacity, batch, length)
    for i = #batch - refused + 1, #batch do
        reply[#reply + 1] = before + i
        reply[#reply + 1] = why
    end
end
if #reply == 1 then
    return 'sent'
end
return reply
