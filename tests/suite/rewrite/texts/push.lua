#!lua
-- Sends entries, each to the ticket that has waited longest for its queue, else to the end of the queue, unless the queue
-- is full.
-- reply: "sent"   all entries were accepted
-- reply: {"sent", place, live, place, live, ...}   for each refused entry its place in the call, from 1, and how
--   many live messages wait in its queue, or -1 if its mailbox was reported full, or the error that its queue gave;
--   all other entries were accepted
-- reply: {"stale"}   nothing was sent: the call came over a connection that the client has since replaced
local queue_keys, first_queue = KEYS, 1       -- [list...]  <prefix>q:<queue>, each once
local prefix                  = ARGV[1]       -- [text]     of every key
local expiry                  = ARGV[2]       -- [int]      ms that the messages may wait
local client                  = ARGV[3]       -- [text]     the client, for queues whose order counts; else empty
local generation              = ARGV[4]       -- [int]      of the client's connection; else empty
local entries, first_entry    = ARGV, 5       -- [bytes...] for each queue its capacity, the count n of its bodies, n bodies
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/entry"
-- An entry is an 18-byte header, written here, and a body whose payload no script parses:
--   bytes 1 to 8    the microsecond in which it was pushed  } together the entry's id: in order of
--   bytes 9 and 10  its place in that call                  } pushing, and never given twice
--   bytes 11 to 18  its deadline in milliseconds
--   byte 19         its kind, the first byte of the body
--   from byte 20    in an inbox, for a message to one channel, its address and a space
-- The numbers are big-endian, so entries sort by their bytes as they sort by id.
local ID_BYTES, HEADER_BYTES = 10, 18
local DEADLINE_AT, KIND_AT, ADDRESS_AT = 11, 19, 20
-- The microsecond and the place of an id, for struct.unpack.
local ID_FORMAT = '>I8I2'

local function entry_time(number)
    return struct.pack('>I8', number)
end

local function entry_place(number)
    return struct.pack('>I2', number)
end

local function entry_id(entry)
    return string.sub(entry, 1, ID_BYTES)
end

-- An entry without a whole header was not written by a script. It is handed on all the same, and the reader refuses it.
local FAR_FUTURE = 4102444800000

local function entry_deadline(entry)
    if #entry < HEADER_BYTES then
        return FAR_FUTURE
    end
    return math.min(struct.unpack('>I8', entry, DEADLINE_AT), FAR_FUTURE)
end

-- Returns the deadline and the byte of the kind in one step.
local unpack_entry = struct.unpack
local function entry_deadline_and_kind(entry)
    if #entry < KIND_AT then
        return FAR_FUTURE
    end
    return unpack_entry('>I8B', entry, DEADLINE_AT)
end
-- @include "lib/fence"
-- Returns whether a call came over a connection that its client has since replaced. A call without a client is never
-- stale.
local function is_stale(prefix, client, generation)
    -- What another program put in the place of the client's record is an error, and none of its generations.
    return client ~= '' and redis.pcall('HGET', prefix .. 'c:' .. client, 'g') ~= generation
end
-- @include "lib/inbox"
-- An inbox is the queue of one process; its name ends in "!".
local EXCLAMATION_MARK = 33

local function is_inbox(queue)
    return string.byte(queue, -1) == EXCLAMATION_MARK
end
-- @include "lib/key"
-- A key is the prefix, one letter for its kind, a colon, and a name: <prefix>q:<queue>.
local function kind_of(key, prefix)
    return string.sub(key, #prefix + 1, #prefix + 1)
end

local function name_of(key, prefix)
    return string.sub(key, #prefix + 3)
end
-- @include "lib/limits"
-- Lua can pass on some 8,000 values in one go; a larger call would fail halfway through its work.
local MAX_VALUES = 3500

-- Returns the error for a call with too many keys or arguments, or nil.
local function refuse_too_large(keys, arguments)
    if keys > 2 * MAX_VALUES or arguments > MAX_VALUES then
        return redis.error_reply('ERR a call has at most ' .. 2 * MAX_VALUES .. ' keys and ' .. MAX_VALUES ..
            ' arguments, this one has ' .. keys .. ' and ' .. arguments .. ': make several')
    end
end

local too_large = refuse_too_large(#queue_keys, #entries)
if too_large then
    return too_large
end

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local microseconds, now = clock()
local deadline = now + expiry
local reply = {'sent'}

-- Up to so many full mailboxes are each compared with each entry, which costs other mailboxes next to nothing. A question
-- to the server about the address of each entry would cost half as much as the entry.
local MAX_COMPARED = 4

-- Returns which entries are for mailboxes that were reported full, or nil if none is.
local function find_full(marks_key, marked, batch)
    local is_full, any = {}, false
    if marked <= MAX_COMPARED then
        for _, address in ipairs(redis.call('SRANDMEMBER', marks_key, MAX_COMPARED)) do
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
        for i, mark in ipairs(redis.call('SMISMEMBER', marks_key, unpack(addresses))) do
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
local slot = first_entry
for number = first_queue, #queue_keys do
    local queue_key, capacity, count = queue_keys[number], tonumber(entries[slot]), tonumber(entries[slot + 1])
    local batch, places = {}, nil
    for i = 1, count do
        batch[i] = sent_bytes .. entry_place(place + i) .. deadline_bytes .. entries[slot + 1 + i]
    end
    if is_inbox(queue_key) then
        local marks_key = prefix .. 'f:' .. name_of(queue_key, prefix)
        -- Fast path: no mailbox of this inbox is marked full.
        local marked = redis.pcall('SCARD', marks_key)
        local is_full = type(marked) == 'number' and marked > 0 and find_full(marks_key, marked, batch)
        if is_full then
            batch, places = refuse_full(is_full, batch, place)
        end
    end
    if #batch > 0 then
        local pushed = redis.pcall('RPUSHX', queue_key, unpack(batch))
        if type(pushed) == 'number' and pushed > 0 and pushed <= capacity then
            redis.call('PEXPIRE', queue_key, expiry, 'GT')
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
-- @include "lib/hand_over"
-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/controls"
-- Control entries stand in an inbox among its messages, and tell its owner of its groups. The kind is the first byte of
-- the body, and the parts behind it stand side by side, with a space between two:
--   c<n> <tag> <part> ...   a change: +<group> <address> <end>   joined, until then
--                                     -<group> <address>         left
--                                     ~<group> <address> <end>   repaired: is in until then; with end 0 is out
--                                     *<address>                 left all groups
--                                     e                          the owner begins to count anew from here
--   k<n> <tag> <call>       the owner, in this call, was not sure of n and tag, or they are not those of the server
--   w<n> <tag> <call> ...   a page of the memberships, as `inbox_page` writes it
--   r                       further changes are not told, because so many wait
--   f                       all groups of all inboxes were removed
-- n counts the changes of the inbox. The tag tells who made one: <client>:<call>, or only the colon.
-- They do not count as messages; how many wait, and their bytes, are fields of the inbox. Only its reader takes them out.
local CONTROLS = {[99] = true, [107] = true, [119] = true, [114] = true, [102] = true}

local function is_control(entry)
    return CONTROLS[string.byte(entry, 19)] or false
end

local function waiting_controls(prefix, inbox)
    local count = redis.pcall('HGET', prefix .. 'i:' .. inbox, 'controls')
    return type(count) == 'string' and tonumber(count) or 0
end

-- Control entries left an inbox. Their bytes are taken to be as many as those of the others.
local function forget_controls(prefix, inbox, count)
    if count == 0 then
        return
    end
    local inbox_key = prefix .. 'i:' .. inbox
    local counts = redis.pcall('HMGET', inbox_key, 'controls', 'control_bytes')
    local waiting = tonumber(counts[1] or nil) or 0
    if waiting > 0 then
        local left = math.max(0, waiting - count)
        local bytes = math.floor((tonumber(counts[2] or nil) or 0) * left / waiting)
        redis.call('HSET', inbox_key, 'controls', left, 'control_bytes', bytes)
    end
end
-- @include "lib/lease"
-- A client is remembered for an hour past its lease: without its generation, a late command of an old connection would
-- pass for one of a new connection. A client is also remembered as long as an entry that it was handed. So the time is
-- only ever extended.
local MEMORY = 3600000

-- Returns the lease, or an hour if it is longer. A waiting line lives for an hour after the lease of the last ticket that
-- came into it, and each waiting client calls again before its lease ends.
local function bounded_lease(lease)
    return math.min(lease, MEMORY)
end

local function keep_client(client_key, lease, is_new)
    if is_new then
        redis.call('PEXPIRE', client_key, lease + MEMORY)
    else
        redis.call('PEXPIRE', client_key, lease + MEMORY, 'GT')
    end
end

-- Keeps a client as long as an entry that it was handed.
local function keep_handed(client_key, deadline, now)
    if deadline - now > MEMORY then
        redis.call('PEXPIRE', client_key, deadline - now, 'GT')
    end
end
-- @include "lib/record"
-- A ticket's record is a field of its client's hash. The ticket waits, or was handed an entry, or a batch of an inbox:
--   w<queues>                                the queues it waits for, separated by spaces
--   h<queues>\n<queue> <entry>               the queues in whose lines it may still stand, and what it was handed
--   b<inbox>\n<length> <controls> <id>       how many entries at the head of the inbox the batch spans, how many of
--                                            these are control entries, and the id of the last
local WAITS, WAS_HANDED = 119, 104 -- the bytes of "w" and "h"

local function waiting_record(queues)
    return 'w' .. queues
end

local function handed_record(queues, queue, entry)
    return 'h' .. queues .. '\n' .. queue .. ' ' .. entry
end

local function batch_record(inbox, length, controls, id)
    return 'b' .. inbox .. '\n' .. length .. ' ' .. controls .. ' ' .. id
end

-- Returns whether a record is one of these.
local function is_record(record)
    return string.find(record, '^[whb]') ~= nil
end

-- Returns the queues of a ticket that waits, or nil of any other ticket.
local function waits_for(record)
    if string.byte(record) == WAITS then
        return string.sub(record, 2)
    end
end

-- Returns the queues of a ticket that was handed an entry, the entry's queue, and the entry; nil of any other ticket.
local function was_handed(record)
    local line_end = string.find(record, '\n', 2, true)
    if string.byte(record) ~= WAS_HANDED or not line_end then
        return nil
    end
    local space = string.find(record, ' ', line_end, true)
    if not space then
        return nil
    end
    return string.sub(record, 2, line_end - 1), string.sub(record, line_end + 1, space - 1), string.sub(record, space + 1)
end

-- Returns the inbox of a ticket that was given a batch, the batch's length, how many of its entries are control entries,
-- and the id of its last entry; nil of any other ticket.
local function was_batch(record)
    local inbox, length, controls, id = string.match(record, '^b(%S+)\n(%d+) (%d+) (.*)$')
    return inbox, tonumber(length), tonumber(controls), id
end

-- Has a client say hello again, whose lease counts as over here, though it may live: the clock was perhaps set.
local function wake_again(prefix, client)
    redis.set_repl(redis.REPL_NONE)
    redis.pcall('PUBLISH', prefix .. 'wake:' .. client, 'again')
    redis.set_repl(redis.REPL_ALL)
end

-- Returns the client of the ticket that has waited longest for a queue, the ticket, and its queues; nil if none waits. A
-- ticket that no longer waits leaves the line: it was put there once. The last two values are its place in the line and what
-- stood there.
local function next_waiter(prefix, queue, now)
    local line_key = prefix .. 'w:' .. queue
    while true do
        local first = redis.pcall('ZPOPMIN', line_key)
        local waiter = first[1]
        if not waiter then
            return nil
        end
        local client, ticket = string.match(waiter, '^(%S+) (%d+)$')
        if client then
            local state = redis.pcall('HMGET', prefix .. 'c:' .. client, 'lease', ticket)
            local queues = state[2] and waits_for(state[2])
            if queues and (tonumber(state[1] or nil) or 0) > now then
                return client, ticket, queues, first[2], waiter
            elseif queues or state[2] and not is_record(state[2]) then
                wake_again(prefix, client)
            end
        end
    end
end

-- Gives an entry to the ticket that has waited longest for its queue, and publishes it to that ticket's client. Returns
-- false if none waits, and an error with it if the one that waits could not be told. An entry of an inbox is its reader's next batch and stays in the inbox, where it must be already.
local function hand_over(prefix, queue, entry, now)
    while true do
        local client, ticket, queues, place, waiter = next_waiter(prefix, queue, now)
        if not client then
            return false
        end
        local client_key = prefix .. 'c:' .. client
        local wake_channel = prefix .. 'wake:' .. client
        -- Not to replicas: who is still connected to a server that was demoted would get the message from there, and
        -- another from here.
        redis.set_repl(redis.REPL_NONE)
        local listeners = redis.pcall('PUBLISH', wake_channel, ticket .. ' ' .. queue .. ' ' .. entry)
        redis.set_repl(redis.REPL_ALL)
        if type(listeners) == 'table' then
            -- Who calls lacks a right, which is no fault of the one that waits.
            redis.call('ZADD', prefix .. 'w:' .. queue, place, waiter)
            return false, listeners.err
        end
        if listeners > 0 then
            if is_inbox(queue) then
                local controls = is_control(entry) and '1' or '0'
                redis.call('HSET', client_key, ticket, batch_record(queue, '1', controls, entry_id(entry)))
            else
                -- The ticket has left this line already; only the lines of its other queues still hold it.
                local lines = queues == queue and '' or queues
                redis.call('HSET', client_key, ticket, handed_record(lines, queue, entry))
                keep_handed(client_key, entry_deadline(entry), now)
            end
            return true
        end
        -- Nobody listens here: the client is gone until its next hello. If it listens to a server that follows this one
        -- it learns so that it has to come here.
        redis.call('HSET', client_key, 'lease', 0)
        redis.call('PUBLISH', wake_channel, 'moved')
    end
end
-- @include "lib/key"
-- @include "lib/make_room"
-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/inbox"
-- @include "lib/key"

-- How much of a queue is searched at once: a script may not run for long.
local MAX_SWEEP_ENTRIES = 1000
local MAX_SWEEP_BYTES = 1048576
local SWEEP_STEP = 16
-- Milliseconds after which at the latest the queue is searched again.
local MAX_SWEEP_PAUSE = 1000

-- Returns the expired entries that stand behind live ones, as they do where senders' expiries differ. Searches again
-- only when the next of the entries that it saw has expired, or when a second has passed, so a full queue costs little.
local function expired_behind(prefix, queue_key, length, now)
    local queue = name_of(queue_key, prefix)
    local swept_key = prefix .. 'x:' .. queue
    local expired, pause = {}, MAX_SWEEP_PAUSE
    local inbox = is_inbox(queue)
    if not redis.call('SET', swept_key, '', 'NX', 'PX', MAX_SWEEP_PAUSE) then
        return expired
    end
    local seen, bytes = 0, 0
    while seen < length and seen < MAX_SWEEP_ENTRIES and bytes < MAX_SWEEP_BYTES do
        for _, entry in ipairs(redis.call('LRANGE', queue_key, seen, seen + SWEEP_STEP - 1)) do
            if not inbox or not is_control(entry) then
                local left = entry_deadline(entry) - now
                if left <= 0 then
                    expired[#expired + 1] = entry
                else
                    pause = math.min(pause, left)
                end
            end
            bytes = bytes + #entry
        end
        seen = seen + SWEEP_STEP
    end
    redis.call('PEXPIRE', swept_key, pause)
    return expired
end

-- Makes room in a queue by removing expired messages. Returns how many entries stay.
local function make_room(prefix, queue_key, length, capacity, now)
    while length > capacity do
        local head = redis.call('LINDEX', queue_key, 0)
        if not head then
            return 0
        elseif entry_deadline(head) > now or is_inbox(queue_key) and is_control(head) then
            break
        end
        redis.call('LPOP', queue_key)
        length = length - 1
    end
    if length > capacity then
        for _, entry in ipairs(expired_behind(prefix, queue_key, length, now)) do
            redis.call('LREM', queue_key, 1, entry)
            length = length - 1
        end
    end
    return length
end

-- Adds entries to a queue after RPUSHX. `pushed` is what RPUSHX returned: 0 if the queue was empty and the entries are
-- still to be added, else the queue's length with them, or an error. Hands the first entries to tickets that wait, and
-- takes back the last ones for which there is no room. Returns how many of the last were refused, and how many live
-- messages wait, or the error.
local function append(prefix, queue_key, capacity, batch, pushed, expiry, now)
    if type(pushed) == 'table' then
        return #batch, pushed.err
    end
    local queue = name_of(queue_key, prefix)
    local inbox = is_inbox(queue)
    local existed, length = pushed > 0, pushed
    local handed = 0
    if not existed then
        while not inbox and handed < #batch do
            local done, why = hand_over(prefix, queue, batch[handed + 1], now)
            if why then
                return #batch - handed, why
            elseif not done then
                break
            end
            handed = handed + 1
        end
        if handed == #batch then
            return 0
        end
        length = redis.call('RPUSH', queue_key, unpack(batch, handed + 1))
        if inbox then
            -- The inbox was empty, so the control entries that were counted are gone.
            redis.pcall('HDEL', prefix .. 'i:' .. queue, 'controls', 'control_bytes')
        end
    end

    local refused, controls = 0, 0
    if length > capacity then
        controls = inbox and waiting_controls(prefix, queue) or 0
        length = make_room(prefix, queue_key, length, capacity + controls, now)
        refused = math.max(0, math.min(length - controls - capacity, #batch - handed))
        if refused > 0 then
            redis.call('RPOP', queue_key, refused)
        end
    end
    if refused < #batch - handed then
        if existed then
            redis.call('PEXPIRE', queue_key, expiry, 'GT')
        else
            redis.call('PEXPIRE', queue_key, expiry)
        end
    end
    if inbox and not existed and refused < #batch then
        local _, why = hand_over(prefix, queue, batch[1], now)
        if why then
            -- Its reader cannot be told. It was empty, and is so again: else nobody would be told of what comes later.
            redis.call('UNLINK', queue_key)
            return #batch, why
        end
    end
    return refused, length - refused - controls
end

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
