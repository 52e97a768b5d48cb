#!lua
-- Sends entries, each to the ticket that has waited longest for its queue, else to the end of the queue, unless the queue
-- is full.
-- reply: "sent"   all entries were accepted
-- reply: {"sent", place, live, place, live, ...}   for each refused entry its place in the call, from 1, and how
--   many live messages wait in its queue, or -1 if its mailbox was reported full, or -2 if its inbox has as many bytes
--   as it may have, or the error that its queue gave; all other entries were accepted
-- reply: {"stale"}   nothing was sent: the call came over a connection that the client has since replaced
local queue_keys, first_queue = KEYS, 1 -- [1..500 list...]              <prefix>q:<queue>, each once
local prefix                  = ARGV[1] -- [prefix]                       of every key
local expiry                  = ARGV[2] -- [int 1..315360000000 ms]       ms that the messages may wait
local client                  = ARGV[3] -- [text]                         the client, for queues whose order counts; else empty
local generation              = ARGV[4] -- [int 0..999999999999 or empty] of the client's connection; else empty
local entries, first_entry    = ARGV, 5 -- [3..1996 bytes...]             for each queue its capacity, the count n of its bodies, n bodies
local slot = first_entry
-- Checks of what stands side by side: the arguments of each queue, of which there are as many as the counts tell.
for number = first_queue, #queue_keys do
    local capacity, count = entries[slot], entries[slot + 1]
    if not count then
        at, given, due = 'ARGV', #entries, 'the number of arguments: queue ' .. number .. ' has no capacity or no count'
    elseif #capacity > 10 or not find(capacity, '^%d+$') then
        at, given, due = 'ARGV[' .. slot .. '] capacity', capacity, 'a whole number from 0 to 9999999999'
    elseif count ~= '1' and (#count > 4 or not find(count, '^[1-9]%d*$')) or slot + 1 + count > #entries then
        at, given, due = 'ARGV[' .. slot + 1 .. '] count', count, 'the number of bodies that follow, 1 or more'
    else
        slot = slot + 2
        for body = slot, slot - 1 + count do
            if not find(entries[body], ' ', 2, true) then
                at, given, due = 'ARGV[' .. body .. '] body', entries[body], 'the letter m, an address or nothing, a space, and the payload'
            end
        end
        slot = slot + count
    end
    if due then
        break
    end
end
if due or slot <= #entries then
-- @include "lib/refuse"
    return refuse('push', at or 'ARGV', given or #entries, due or 'the number of arguments that the counts tell, which is ' .. slot - 1)
end
-- Checked
-- @include "lib/layout"

local call, pcall = redis.call, redis.pcall
-- What another program put in the place of the client's record is an error, and none of its generations.
if client ~= '' and pcall('HGET', prefix .. 'c:' .. client, 'g') ~= generation then
    return {'stale'}
end

local time = call('TIME')
local microseconds = time[1] * 1000000 + time[2]
local now = math.floor(microseconds / 1000)
local deadline = now + expiry

-- Straight path: one message to a queue that is no inbox. What this path does not know it leaves to the text below it, with
-- what RPUSHX returned. No function stands above it: to make one costs as much as a command.
local pushed
repeat
    local queue_key = queue_keys[first_queue]
    if #queue_keys ~= first_queue or #entries ~= first_entry + 2
        or string.byte(queue_key, -1) == EXCLAMATION_MARK then
        break
    end
    local entry = struct.pack('>I8I2I8', microseconds, 1, deadline) .. entries[first_entry + 2]
    pushed = pcall('RPUSHX', queue_key, entry)
    if type(pushed) == 'table' or pushed > tonumber(entries[first_entry]) then
        break
    elseif pushed > 0 then
        if type(pcall('PEXPIRE', queue_key, expiry, 'GT')) == 'number' then
            return 'sent'
        end
        break
    end

    -- The queue was empty: the ticket that has waited longest for it gets the entry.
    local queue = string.sub(queue_key, #prefix + 3)
    local line_key = prefix .. 'w:' .. queue
    local may, any_client = redis.acl_check_cmd, prefix .. 'c:'
    if not (may('HMGET', any_client, 'f') and may('HSET', any_client, 'f', 'v') and may('PEXPIRE', any_client, '1')
        and may('PUBLISH', prefix .. 'wake:', 'v')) then
        break
    end
    local first = pcall('ZPOPMIN', line_key)
    local waiter, left = first[1], 0
    if not waiter then
        if first.err or tonumber(entries[first_entry]) < 1 or type(pcall('RPUSH', queue_key, entry)) == 'table' then
            break
        elseif type(pcall('PEXPIRE', queue_key, expiry)) == 'number' then
            return 'sent'
        end
        call('RPOP', queue_key)
        break
    end
    local receiver, ticket = string.match(waiter, '^(%S+) (%d+)$')
    if receiver then
        local receiver_key = prefix .. 'c:' .. receiver
        local state = pcall('HMGET', receiver_key, 'lease', ticket)
        local record = state[2]
        left = (tonumber(state[1] or nil) or 0) - now
        if record and string.byte(record) == WAITS and left > 0 then
            local lines = string.sub(record, 2)
            if lines == queue then
                lines = ''
            end
            -- Not to replicas, as lib/hand_over has it.
            redis.set_repl(redis.REPL_NONE)
            local woken = #entry > MAX_WOKEN_ENTRY and ticket or ticket .. ' ' .. queue .. ' ' .. entry
            local listeners = pcall('PUBLISH', prefix .. 'wake:' .. receiver, woken)
            redis.set_repl(redis.REPL_ALL)
            if type(listeners) == 'number' and listeners > 0 then
                call('HSET', receiver_key, ticket, 'h' .. lines .. '\n' .. queue .. ' ' .. entry)
                if deadline - now > MEMORY then
                    call('PEXPIRE', receiver_key, expiry, 'GT')
                end
                return 'sent'
            end
        end
    end
    -- Back to where it stood, in a line that is perhaps made anew.
    call('ZADD', line_key, first[2], waiter)
    call('PEXPIRE', line_key, math.max(left, 0) + MEMORY, 'NX')
until true

-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/key"

local reply = {'sent'}

-- Up to so many full mailboxes are each compared with each entry, which costs other mailboxes next to nothing. A question
-- to the server about the address of each entry would cost half as much as the entry.
local MAX_COMPARED = 4

-- Returns which entries are for mailboxes that were reported full, or nil if none is.
local function find_full(marks_key, marked, batch)
    local is_full, any = {}, false
    if marked <= MAX_COMPARED then
        for _, address in ipairs(call('SRANDMEMBER', marks_key, MAX_COMPARED)) do
            local start, last = address .. ' ', ADDRESS_AT + #address
            for i, entry in ipairs(batch) do
                if string.sub(entry, ADDRESS_AT, last) == start then
                    is_full[i], any = true, true
                end
            end
        end
    else
        local addresses = {}
        for i, entry in ipairs(batch) do
            addresses[i] = string.match(entry, '^(%S*)', ADDRESS_AT)
        end
        for i, mark in ipairs(call('SMISMEMBER', marks_key, unpack(addresses))) do
            if mark == 1 then
                is_full[i], any = true, true
            end
        end
    end
    return any and is_full or nil
end

-- Refuses the entries of a batch whose mailboxes were reported full. Returns the others, and their places in the call.
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

-- First the queues that have messages and room for more, as most queues do: no ticket waits for those. Each entry is one
-- concatenation, because to make a string is most of an entry's cost.
local sent_bytes, deadline_bytes = entry_time(microseconds), entry_time(deadline)
local others = {}
local place = 0
slot = first_entry
for number = first_queue, #queue_keys do
    local queue_key, capacity, count = queue_keys[number], tonumber(entries[slot]), tonumber(entries[slot + 1])
    local batch, places, may_be_heavy = {}, nil, false
    for i = 1, count do
        batch[i] = sent_bytes .. entry_place(place + i) .. deadline_bytes .. entries[slot + 1 + i]
    end
    if is_inbox(queue_key) then
        for i = 1, count do
            may_be_heavy = may_be_heavy or #batch[i] > SMALL_ENTRY
        end
        local marks_key = prefix .. 'f:' .. name_of(queue_key, prefix)
        -- Fast path: no mailbox of this inbox is marked full.
        local marked = pcall('SCARD', marks_key)
        local is_full = type(marked) == 'number' and marked > 0 and find_full(marks_key, marked, batch)
        if is_full then
            batch, places = refuse_full(is_full, batch, place)
        end
    end
    if #batch > 0 then
        local pushed = pushed or pcall('RPUSHX', queue_key, unpack(batch))
        if type(pushed) == 'number' and pushed > 0 and pushed <= capacity and not may_be_heavy then
            local kept = pcall('PEXPIRE', queue_key, expiry, 'GT')
            if type(kept) == 'table' then
                -- The user has no right to it.
                call('RPOP', queue_key, #batch)
                kept.command = 'PEXPIRE'
                others[#others + 1] = {queue_key, capacity, batch, kept, place, places}
            end
        else
            others[#others + 1] = {queue_key, capacity, batch, pushed, place, places}
        end
    end
    place = place + count
    slot = slot + 2 + count
end
if #others == 0 and #reply == 1 then
    -- A text costs the server half as much as a list.
    return 'sent'
end

-- These functions stand here because the server creates them anew in each call that comes so far.
-- @include "lib/append"

for _, other in ipairs(others) do
    local queue_key, capacity, batch, pushed, before, places = unpack(other, 1, 6)
    local refused, why = append(prefix, queue_key, capacity, batch, pushed, expiry, now)
    for i = #batch - refused + 1, #batch do
        reply[#reply + 1] = places and places[i] or before + i
        reply[#reply + 1] = why
    end
end
if #reply == 1 then
    return 'sent'
end
return reply
