#!lua
-- Sends entries, each to the ticket that waits longest for its queue, else to the end of the queue, unless the
-- queue is full.
-- reply: "sent"   all entries were accepted
-- reply: {"sent", place, live, place, live, ...}   for each refused entry its place in the call, from 1, and how
--   many live messages wait in its queue, or -1 if its mailbox was reported full, or the error that its queue gave;
--   all other entries were accepted
-- reply: {"stale"}   nothing was sent: the call came over a connection that the client has since replaced
local queues, first_queue = KEYS, 1           -- [list...]  <prefix>q:<queue>, each once
local prefix              = ARGV[1]           -- [text]     of every key
local expiry              = ARGV[2]           -- [int]      ms that the messages may wait
local client              = ARGV[3]           -- [text]     the client, for queues whose order counts; else empty
local generation          = ARGV[4]           -- [int]      of the client's connection; else empty
local entries, first_entry = ARGV, 5          -- [bytes...] for each queue its capacity, the count n of its bodies, n bodies
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/fence"
-- @include "lib/inbox"
-- @include "lib/limits"

local too_large = refuse_too_large(#queues, #entries)
if too_large then
    return too_large
end

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local microseconds, now = clock()
local deadline = now + expiry
local reply = {'sent'}

-- Up to so many full mailboxes are each compared with each entry, and a neighbour pays next to nothing for them. To ask
-- the server about the address of each entry costs half of what the entry does.
local FEW = 4

-- Which entries are for mailboxes that were reported full; nil when none is.
local function find_full(marks_key, marked, batch)
    local is_full, any = {}, false
    if marked <= FEW then
        for _, address in ipairs(redis.call('SRANDMEMBER', marks_key, FEW)) do
            local start, last = address .. ' ', 20 + #address
            for i, entry in ipairs(batch) do
                if string.sub(entry, 20, last) == start then
                    is_full[i], any = true, true
                end
            end
        end
    else
        local addresses = {}
        for i, entry in ipairs(batch) do
            addresses[i] = string.match(entry, '^(%S*)', 20)
        end
        for i, mark in ipairs(redis.call('SMISMEMBER', marks_key, unpack(addresses))) do
            if mark == 1 then
                is_full[i], any = true, true
            end
        end
    end
    return any and is_full or nil
end

-- Takes the entries out of a batch whose mailboxes were reported full. Returns the rest, and the place of each in the call.
local function refuse_full(is_full, batch, place)
    local accepted, places = {}, {}
    for i, entry in ipairs(batch) do
        if is_full[i] then
            reply[#reply + 1] = place + i
            reply[#reply + 1] = -1
        else
            accepted[#accepted + 1] = entry
            places[#accepted] = place + i
        end
    end
    return accepted, places
end

-- First the queues that have messages and room for more, which is what most sends find: nobody waits for those.
-- One concatenation an entry, for making a string is most of its cost.
local pushed, dies = entry_time(microseconds), entry_time(deadline)
local others = {}
local place = 0
local slot = first_entry
for number = first_queue, #queues do
    local queue, capacity, count = queues[number], tonumber(entries[slot]), tonumber(entries[slot + 1])
    local batch, places = {}, nil
    for i = 1, count do
        batch[i] = pushed .. entry_place(place + i) .. dies .. entries[slot + 1 + i]
    end
    if is_inbox(queue) then
        local marks_key = prefix .. 'f:' .. string.sub(queue, #prefix + 3)
        -- Mostly no mailbox is full, and then no address needs to be looked at.
        local marked = redis.pcall('SCARD', marks_key)
        local is_full = type(marked) == 'number' and marked > 0 and find_full(marks_key, marked, batch)
        if is_full then
            batch, places = refuse_full(is_full, batch, place)
        end
    end
    if #batch > 0 then
        local length = redis.pcall('RPUSHX', queue, unpack(batch))
        if type(length) == 'number' and length > 0 and length <= capacity then
            redis.call('PEXPIRE', queue, expiry, 'GT')
        else
            others[#others + 1] = {queue, capacity, batch, length, place, places}
        end
    end
    place = place + count
    slot = slot + 2 + count
end
if #others == 0 and #reply == 1 then
    -- A text costs the server half of what a list does.
    return 'sent'
end

-- Below this a send pays for the functions too, which the server makes anew for each call.
-- @include "lib/append"

for _, other in ipairs(others) do
    local queue, capacity, batch, length, before, places = unpack(other, 1, 6)
    local refused, why = append(prefix, queue, capacity, batch, length, expiry, now)
    for i = #batch - refused + 1, #batch do
        reply[#reply + 1] = places and places[i] or before + i
        reply[#reply + 1] = why
    end
end
if #reply == 1 then
    return 'sent'
end
return reply
