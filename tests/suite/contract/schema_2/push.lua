#!lua
-- Sends entries, each to the ticket that waits longest for its queue, else to the end of the queue, unless the
-- queue is full.
-- reply: "sent"   all entries were accepted
-- reply: {"sent", place, live, place, live, ...}   for each refused entry its place in the call, from 1, and how
--   many live messages wait in its queue, or -1 if its mailbox was reported full, or the error that its queue gave;
--   all other entries were accepted
-- reply: {"stale"}   nothing was sent: the client says this on a connection that it has since replaced
local queues, first_queue = KEYS, 1           -- [list...]  <prefix>q:<queue>, each once
local prefix              = ARGV[1]           -- [text]     of every key
local expiry              = ARGV[2]           -- [int]      ms that the messages may wait
local client              = ARGV[3]           -- [text]     the client, for queues whose order counts; else empty
local generation          = ARGV[4]           -- [int]      of the client's connection; else empty
local entries, first_entry = ARGV, 5          -- [bytes...] for each queue its capacity, the count n of its bodies, n bodies
-- @include "lib/clock"
-- The server's clock, in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/entry"
-- An entry is an 18-byte header, written here, and a body that no script parses:
--   bytes 1 to 8    the microsecond in which it was pushed  } together the entry's id: in order of
--   bytes 9 and 10  its place in that call                  } pushing, and never given twice
--   bytes 11 to 18  its deadline in milliseconds
-- All three are big-endian, so entries sort by their bytes as they sort by id.
local function entry_time(number)
    return struct.pack('>I8', number)
end

local function entry_place(number)
    return struct.pack('>I2', number)
end

local function entry_id(entry)
    return string.sub(entry, 1, 10)
end

-- Whatever stands in a queue must not stop its reader: what has no header is handed on, for the reader to refuse.
local FAR_FUTURE = 4102444800000

local function entry_deadline(entry)
    if #entry < 18 then
        return FAR_FUTURE
    end
    return math.min(struct.unpack('>I8', entry, 11), FAR_FUTURE)
end

-- The same and the number of its kind, in one step.
local unpack_entry = struct.unpack
local function entry_deadline_and_kind(entry)
    if #entry < 19 then
        return FAR_FUTURE
    end
    return unpack_entry('>I8B', entry, 11)
end
-- @include "lib/fence"
-- Whether a call comes over a connection that its client has since replaced. Who names no client is never late.
local function is_stale(prefix, client, generation)
    return client ~= '' and redis.call('HGET', prefix .. 'c:' .. client, 'g') ~= generation
end
-- @include "lib/inbox"
-- An inbox is the queue of one process; its name ends in "!".
local function is_inbox(queue)
    return string.byte(queue, -1) == 33
end
-- @include "lib/limits"
-- Lua can pass on some 8,000 values in one go; a larger call would fail halfway through its work.
local MOST_VALUES = 3500

local function refuse_too_large(keys, arguments)
    if keys > 2 * MOST_VALUES or arguments > MOST_VALUES then
        return redis.error_reply('ERR a call has at most ' .. 2 * MOST_VALUES .. ' keys and ' .. MOST_VALUES ..
            ' arguments, this one has ' .. keys .. ' and ' .. arguments .. ': make several')
    end
end

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

-- Takes the entries out of a batch whose mailboxes were reported full. Says the rest, and the place of each in the call.
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
-- @include "lib/hand_over"
-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/controls"
-- Control entries stand in an inbox among its messages and tell its owner of its groups, by their kind:
--   +<group> <address>   joined; the deadline of the entry is that of the membership
--   =<group> <address>   joined, and the group had nobody here before
--   -<group> <address>   left
--   r                    so many of these wait that no more are written: read all memberships again
-- They do not count as messages; how many wait is a field of the inbox. Only its reader takes them out.
local CONTROLS = {[43] = true, [61] = true, [45] = true, [114] = true}

local function is_control(entry)
    return CONTROLS[string.byte(entry, 19)] or false
end

local function waiting_controls(prefix, inbox)
    local count = redis.pcall('HGET', prefix .. 'i:' .. inbox, 'controls')
    return type(count) == 'string' and tonumber(count) or 0
end

-- Control entries left an inbox.
local function forget_controls(prefix, inbox, count)
    local waiting = count > 0 and waiting_controls(prefix, inbox) or 0
    if waiting > 0 then
        redis.call('HSET', prefix .. 'i:' .. inbox, 'controls', math.max(0, waiting - count))
    end
end
-- @include "lib/lease"
-- A client is remembered for an hour past its lease, or a late command of an old connection would be taken for a
-- new one; and for as long as it was handed a message. So the time is only ever extended.
local MEMORY = 3600000

-- A waiting line lives for an hour too after a ticket came into it. Every lease is shorter, so whoever still waits
-- comes again before the line ends.
local function bounded_lease(lease)
    return math.min(lease, MEMORY)
end

local function keep_client(client, lease, new)
    if new then
        redis.call('PEXPIRE', client, lease + MEMORY)
    else
        redis.call('PEXPIRE', client, lease + MEMORY, 'GT')
    end
end

local function keep_handed(client, deadline, now)
    if deadline - now > MEMORY then
        redis.call('PEXPIRE', client, deadline - now, 'GT')
    end
end
-- @include "lib/record"
-- A ticket's record, a field of its client's hash. It waits, or it was handed an entry, or a batch of an inbox:
--   w<queues>                                the queues it waits for, separated by spaces
--   h<queues>\n<queue> <entry>               the queues in whose lines it may still stand, and what it was handed
--   b<inbox>\n<length> <controls> <id>       how many entries at the head of the inbox the batch spans, how many of
--                                            these are control entries, and the id of the last
local function waiting_record(queues)
    return 'w' .. queues
end

local function handed_record(queues, queue, entry)
    return 'h' .. queues .. '\n' .. queue .. ' ' .. entry
end

local function batch_record(inbox, length, controls, id)
    return 'b' .. inbox .. '\n' .. length .. ' ' .. controls .. ' ' .. id
end

-- The queues of a ticket that waits; nil of any other.
local function waits_for(record)
    if string.byte(record) == 119 then
        return string.sub(record, 2)
    end
end

-- What a ticket was handed: its queues, the queue and the entry; nil of any other.
local function was_handed(record)
    local line_end = string.find(record, '\n', 2, true)
    if string.byte(record) ~= 104 or not line_end then
        return nil
    end
    local space = string.find(record, ' ', line_end, true)
    return string.sub(record, 2, line_end - 1), string.sub(record, line_end + 1, space - 1), string.sub(record, space + 1)
end

-- The batch of a ticket: its inbox, length, control entries and last id; nil of any other.
local function was_batch(record)
    local inbox, length, controls, id = string.match(record, '^b(%S+)\n(%d+) (%d+) (.*)$')
    return inbox, tonumber(length), tonumber(controls), id
end

-- The ticket that waited longest for a queue, its client and its queues; nil when nobody waits. Who is met and does
-- not wait any more leaves the line: it was put there once.
local function next_waiter(prefix, queue, now)
    local line = prefix .. 'w:' .. queue
    while true do
        local waiter = redis.pcall('ZPOPMIN', line)[1]
        if not waiter then
            return nil
        end
        local client, ticket = string.match(waiter, '^(%S+) (%d+)$')
        if client then
            local state = redis.pcall('HMGET', prefix .. 'c:' .. client, 'lease', ticket)
            local queues = state[2] and waits_for(state[2])
            if queues and tonumber(state[1] or 0) > now then
                return client, ticket, queues
            end
        end
    end
end

-- Gives an entry to the ticket that waited longest for its queue, and tells that ticket's client; false when
-- nobody waits. An entry of an inbox is its reader's next batch, and stays in the inbox, where it must be already.
local function hand_over(prefix, queue, entry, now)
    while true do
        local client, ticket, queues = next_waiter(prefix, queue, now)
        if not client then
            return false
        end
        local client_key = prefix .. 'c:' .. client
        if redis.call('PUBLISH', prefix .. 'wake:' .. client, ticket .. ' ' .. queue .. ' ' .. entry) > 0 then
            if is_inbox(queue) then
                local controls = is_control(entry) and '1' or '0'
                redis.call('HSET', client_key, ticket, batch_record(queue, '1', controls, entry_id(entry)))
            else
                -- It has left this line already; only the lines of other queues still hold it.
                local lines = queues == queue and '' or queues
                redis.call('HSET', client_key, ticket, handed_record(lines, queue, entry))
                keep_handed(client_key, entry_deadline(entry), now)
            end
            return true
        end
        -- Nobody listens: the client is gone until it says hello again.
        redis.call('HSET', client_key, 'lease', 0)
    end
end
-- @include "lib/make_room"
-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/inbox"

-- How much is looked through at once: a script may not run for long.
local SWEEP_ENTRIES = 1000
local SWEEP_BYTES = 1048576
local SWEEP_STEP = 16
-- Milliseconds after which at the latest it is worth another look.
local SWEEP_PAUSE = 1000

-- The expired entries that stand behind live ones, as they do where senders' expiries differ. Looks again only
-- when the next of those it saw has expired, and when a second has passed, so a full queue costs little.
local function expired_behind(prefix, queue, length, now)
    local swept = prefix .. 'x:' .. string.sub(queue, #prefix + 3)
    local expired, pause = {}, SWEEP_PAUSE
    local inbox = is_inbox(queue)
    if not redis.call('SET', swept, '', 'NX', 'PX', SWEEP_PAUSE) then
        return expired
    end
    local seen, bytes = 0, 0
    while seen < length and seen < SWEEP_ENTRIES and bytes < SWEEP_BYTES do
        for _, entry in ipairs(redis.call('LRANGE', queue, seen, seen + SWEEP_STEP - 1)) do
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
    redis.call('PEXPIRE', swept, pause)
    return expired
end

-- Makes room in a queue by removing expired messages. Says how many entries stay.
local function make_room(prefix, queue, length, capacity, now)
    while length > capacity do
        local head = redis.call('LINDEX', queue, 0)
        if not head then
            return 0
        elseif entry_deadline(head) > now or is_inbox(queue) and is_control(head) then
            break
        end
        redis.call('LPOP', queue)
        length = length - 1
    end
    if length > capacity then
        for _, entry in ipairs(expired_behind(prefix, queue, length, now)) do
            redis.call('LREM', queue, 1, entry)
            length = length - 1
        end
    end
    return length
end

-- Adds entries to a queue after RPUSHX: `length` is what it said, 0 when the queue was empty and they are still to be
-- added, else its length with them. Hands the first ones to who waits, and takes back the last ones for which there is
-- no room. Says how many of the last were refused, and how many live messages wait or what failed.
local function append(prefix, queue, capacity, batch, length, expiry, now)
    if type(length) == 'table' then
        return #batch, length.err
    end
    local name = string.sub(queue, #prefix + 3)
    local inbox = is_inbox(name)
    local existed = length > 0
    local handed = 0
    if not existed then
        while not inbox and handed < #batch and hand_over(prefix, name, batch[handed + 1], now) do
            handed = handed + 1
        end
        if handed == #batch then
            return 0
        end
        length = redis.call('RPUSH', queue, unpack(batch, handed + 1))
        if inbox then
            -- It was empty: those that were counted are gone.
            redis.pcall('HDEL', prefix .. 'i:' .. name, 'controls')
        end
    end

    local refused, controls = 0, 0
    if length > capacity then
        controls = inbox and waiting_controls(prefix, name) or 0
        length = make_room(prefix, queue, length, capacity + controls, now)
        refused = math.max(0, math.min(length - controls - capacity, #batch - handed))
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
    if inbox and not existed and refused < #batch then
        hand_over(prefix, name, batch[1], now)
    end
    return refused, length - refused - controls
end

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
