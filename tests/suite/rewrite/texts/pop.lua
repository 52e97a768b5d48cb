#!lua flags=allow-oom
-- Takes all that a receiver reports: first what became of its finished tickets, then which tickets are open. An open
-- ticket is given its message, the same one however often it asks, or else waits for one. A ticket of an inbox is given a
-- batch of entries, which stay in the inbox until they are acknowledged. Renews the lease.
-- reply: {"ok", served, ticket, queue, entry, ticket, queue, entry, ...}   how many tickets were looked at, the rest
--   being left for another call as the reply grew too large; and each of them that has a message, or that failed:
--   then the queue is "" and an error stands in place of the entry. Of an inbox a list of entries stands there
-- reply: {"stale"}   nothing was done: send hello with a higher generation, then ask for all open tickets again
local client_key              = KEYS[1]           -- [hash]     <prefix>c:<client>
local queue_keys, first_queue = KEYS, 2           -- [list...]  <prefix>q:<queue> of each ticket's queues, ticket by ticket
local prefix                  = ARGV[1]           -- [text]     of every key
local client                  = ARGV[2]           -- [text]     the client; empty: take at once, record nothing
local generation              = ARGV[3]           -- [int]      of the client's connection
local lease                   = tonumber(ARGV[4]) -- [int]      ms, at most an hour; 0 ends it; -1 also forgets the client, which has nothing else under way
local finished                = tonumber(ARGV[5]) -- [int]      how many finished tickets follow
local items, first_item       = ARGV, 6           -- [bytes...] a finished ticket: number, id of the (last) entry it delivered, or empty; then an open one: number, "wait" or "try", count of its queues
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
-- @include "lib/batch"
-- @include "lib/entry"
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
-- @include "lib/record"

-- The reader of an inbox takes a batch. The entries of a batch stay at the head of the inbox until they are acknowledged,
-- so a reader that asks again is given the same batch.
local MAX_BATCH_ENTRIES = 200
local MAX_BATCH_BYTES = 1048576
-- How many entries are read at once: large ones may follow small ones.
local BATCH_STEP = 16

-- Returns whether a reader is given an entry. A control entry is given also after the end of its membership, because the
-- reader may know of a longer one from before. An empty entry is not given, because it could not be acknowledged.
local function is_due(entry, now)
    return is_control(entry) or #entry > 0 and entry_deadline(entry) > now
end

-- Looks for live entries at the head of an inbox. Returns an error or nil; the live entries, how many entries they span,
-- and how many of these are control entries; then how many entries were seen, and how many control entries among them.
local function look_at_head(inbox_queue_key, now)
    local entries, due, length, controls = {}, 0, 0, 0
    local seen, seen_controls, bytes, step = 0, 0, 0, 1
    while seen < MAX_BATCH_ENTRIES and bytes < MAX_BATCH_BYTES do
        local found = redis.pcall('LRANGE', inbox_queue_key, seen, seen + step - 1)
        if found.err then
            return found.err
        end
        for _, entry in ipairs(found) do
            seen = seen + 1
            bytes = bytes + #entry
            -- The same as is_due, in one step: it is most of what a batch costs.
            local deadline, kind = entry_deadline_and_kind(entry)
            local control = CONTROLS[kind]
            if control then
                seen_controls = seen_controls + 1
            end
            if control or #entry > 0 and deadline > now then
                due = due + 1
                entries[due] = entry
                length, controls = seen, seen_controls
            end
            if bytes >= MAX_BATCH_BYTES then
                break
            end
        end
        if #found < step then
            break
        end
        -- Next as many as fit, if they are as large as those that were seen.
        local fitting = math.floor((MAX_BATCH_BYTES - bytes) * seen / bytes)
        step = math.min(BATCH_STEP, MAX_BATCH_ENTRIES - seen, math.max(1, fitting))
    end
    return nil, entries, length, controls, seen, seen_controls
end

-- Removes the first `length` entries of an inbox, of which `controls` are control entries.
local function trim_inbox(prefix, inbox, length, controls)
    redis.call('LTRIM', prefix .. 'q:' .. inbox, length, '-1')
    forget_controls(prefix, inbox, controls)
end

-- Looks for the next batch of an inbox. Returns an error if the key belongs to another program, else nil; then the
-- batch's entries, how many entries of the inbox it spans, and how many of these are control entries. Returns nothing if
-- the inbox is empty.
local function next_batch(prefix, inbox, now)
    while true do
        local error, entries, length, controls, seen, seen_controls = look_at_head(prefix .. 'q:' .. inbox, now)
        if error then
            return error
        elseif #entries > 0 then
            return nil, entries, length, controls
        elseif seen == 0 then
            return nil
        end
        trim_inbox(prefix, inbox, seen, seen_controls)
    end
end

-- Returns whether an entry was pushed after the one with an id.
local function is_after(entry, id)
    local pushed, place = struct.unpack(ID_FORMAT, entry)
    local last_pushed, last_place = struct.unpack(ID_FORMAT, id)
    return pushed > last_pushed or pushed == last_pushed and place > last_place
end

-- Counts the entries up to the one with an id. Returns how many they are, and how many of them are control entries. The
-- one with the id may have expired and left the inbox: then the entries that were pushed before it count.
local function count_to(entries, id)
    local controls = 0
    for place, entry in ipairs(entries) do
        if is_control(entry) then
            controls = controls + 1
        end
        if entry_id(entry) == id then
            return place, controls
        end
    end
    local length = 0
    controls = 0
    for place, entry in ipairs(entries) do
        if #id < ID_BYTES or #entry < ID_BYTES or is_after(entry, id) then
            break
        end
        length = place
        if is_control(entry) then
            controls = controls + 1
        end
    end
    return length, controls
end

-- Returns the entries that are left of the batch of a record, or nil if none is.
local function same_batch(prefix, record, now)
    local inbox, length, _, last = was_batch(record)
    if not inbox then
        return nil
    end
    -- Expired entries may have left the inbox, so the batch's last entry may stand before its first place.
    local found = redis.pcall('LRANGE', prefix .. 'q:' .. inbox, 0, length - 1)
    local entries = {}
    for place = 1, (count_to(found, last)) do
        if is_due(found[place], now) then
            entries[#entries + 1] = found[place]
        end
    end
    return #entries > 0 and entries or nil
end

-- Removes the entries of a batch up to the one with an id, which its reader has delivered. An entry that was pushed after
-- the batch was never given to the reader, so such an id removes nothing.
local function acknowledge_batch(prefix, record, id)
    local inbox, length, controls, last = was_batch(record)
    local inbox_queue_key = prefix .. 'q:' .. inbox
    if id == last then
        local entry = redis.pcall('LINDEX', inbox_queue_key, length - 1)
        if type(entry) == 'string' and entry_id(entry) == last then
            return trim_inbox(prefix, inbox, length, controls)
        end
    end
    if #id >= ID_BYTES and #last >= ID_BYTES and is_after(id, last) then
        return
    end
    length, controls = count_to(redis.pcall('LRANGE', inbox_queue_key, 0, length - 1), id)
    if length > 0 then
        trim_inbox(prefix, inbox, length, controls)
    end
end
-- @include "lib/give_back"
-- @include "lib/entry"
-- @include "lib/hand_over"
-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/controls"
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

-- Gives an entry that a ticket was handed and did not deliver to the next ticket that waits, else back to its place in
-- the queue.
local function give_back(prefix, queue, entry, now)
    local left = entry_deadline(entry) - now
    if left <= 0 or hand_over(prefix, queue, entry, now) then
        return
    end
    local given_back_key = prefix .. 'b:' .. queue
    -- All have one score: equal scores sort by their bytes, and these begin with the id.
    local added = redis.pcall('ZADD', given_back_key, 0, entry)
    if type(added) == 'table' then
        -- The key belongs to another program. Then the entry goes to the end of the queue: out of order, but not lost.
        redis.pcall('RPUSH', prefix .. 'q:' .. queue, entry)
    elseif redis.call('PEXPIRE', given_back_key, left, 'NX') == 0 then
        redis.call('PEXPIRE', given_back_key, left, 'GT')
    end
end
-- @include "lib/take"
-- @include "lib/entry"
-- @include "lib/key"

-- Takes the next live entry of some queues: first one that was given back, else the head of the first queue that has
-- one. Drops the expired entries that it meets. Returns the queue and the entry; nil if all queues are empty; '' and the
-- error if a key belongs to another program.
local function take(prefix, queues, now)
    local pop_lists, pop_given_back = {#queues}, {#queues}
    for i, queue in ipairs(queues) do
        pop_lists[i + 1] = prefix .. 'q:' .. queue
        pop_given_back[i + 1] = prefix .. 'b:' .. queue
    end
    pop_lists[#queues + 2] = 'LEFT'
    pop_given_back[#queues + 2] = 'MIN'
    while true do
        local found = redis.pcall('ZMPOP', unpack(pop_given_back))
        local entry
        if not found then
            found = redis.pcall('LMPOP', unpack(pop_lists))
            entry = found and found[2] and found[2][1]
        else
            entry = found[2] and found[2][1][1]
        end
        if not found then
            return nil
        elseif found.err then
            return '', found.err
        end
        if entry_deadline(entry) > now then
            return name_of(found[1], prefix), entry
        end
    end
end
-- @include "lib/lease"

local MAX_REPLY_BYTES = 1048576

local too_large = refuse_too_large(#queue_keys, #items)
if too_large then
    return too_large
end

local microseconds, now = clock()
local recorded = client ~= ''
local first_open = first_item + 2 * finished
lease = bounded_lease(lease)

-- Generation, lease and the records of all tickets are read at once.
local fields = {'g', 'lease'}
for slot = first_item, first_open - 1, 2 do
    fields[#fields + 1] = items[slot]
end
for slot = first_open, #items, 3 do
    fields[#fields + 1] = items[slot]
end
local records = {}
local function read_records()
    -- What another program put in the place of the client's record has no fields.
    for i, value in ipairs(redis.pcall('HMGET', client_key, unpack(fields))) do
        records[fields[i]] = value
    end
end

if recorded then
    read_records()
    local lease_end = tonumber(records.lease or nil) or 0
    if records.g ~= generation or lease_end <= now then
        return {'stale'}
    end
    -- A renewal at every call would cost a write each. A client with nothing to report calls after a third of the lease.
    if lease <= 0 or lease_end - now < lease * 5 / 6 then
        redis.call('HSET', client_key, 'lease', lease <= 0 and 0 or now + lease)
        keep_client(client_key, math.max(lease, 0), false)
    end
end

-- Forgets the entries that were delivered, and gives back the others.
local gone, undelivered = {}, {}
for slot = first_item, first_open - 1, 2 do
    local ticket, delivered = items[slot], items[slot + 1]
    local record = records[ticket]
    if record then
        records[ticket] = nil
        gone[#gone + 1] = ticket
        local queues, queue, entry = was_handed(record)
        for waited_for in string.gmatch(queues or waits_for(record) or '', '%S+') do
            redis.pcall('ZREM', prefix .. 'w:' .. waited_for, client .. ' ' .. ticket)
        end
        if entry and entry_id(entry) ~= delivered then
            undelivered[#undelivered + 1] = {queue, entry}
        elseif delivered ~= '' and was_batch(record) then
            acknowledge_batch(prefix, record, delivered)
        end
    end
end
if #gone > 0 then
    redis.call('HDEL', client_key, unpack(gone))
end
for _, back in ipairs(undelivered) do
    give_back(prefix, back[1], back[2], now)
end
if #undelivered > 0 then
    -- An entry may have gone to an open ticket of this very call.
    read_records()
end

-- Puts a ticket into the lines of its queues. Returns an error if a key belongs to another program.
local function wait_in_lines(ticket, queues, place)
    for _, queue in ipairs(queues) do
        local line_key = prefix .. 'w:' .. queue
        local added = redis.pcall('ZADD', line_key, 'NX', microseconds + place, client .. ' ' .. ticket)
        if type(added) == 'table' then
            return added.err
        end
        redis.call('PEXPIRE', line_key, lease + MEMORY)
    end
end

-- Does for a ticket of an inbox what `serve` does for others; in place of an entry it returns a list of entries.
local function serve_inbox(ticket, waits, inbox, place)
    local record = records[ticket]
    local same_entries = record and same_batch(prefix, record, now)
    if same_entries then
        return inbox, same_entries
    end
    local error, entries, length, controls = next_batch(prefix, inbox, now)
    if error then
        return '', error
    elseif entries then
        if recorded then
            return inbox, entries, batch_record(inbox, length, controls, entry_id(entries[#entries]))
        end
        trim_inbox(prefix, inbox, length, controls)
        return inbox, entries
    elseif not recorded then
        return nil
    end
    if waits then
        error = wait_in_lines(ticket, {inbox}, place)
        if error then
            return '', error
        end
        return nil, nil, waiting_record(inbox)
    elseif record then
        redis.call('HDEL', client_key, ticket)
    end
end

-- Gives an open ticket the entry that it was handed before, else the next one, else lets it wait. Returns the queue and
-- the entry, or '' and an error, or nil and nil; and the ticket's record if it is a new one.
local function serve(ticket, waits, queues, place)
    if #queues == 1 and is_inbox(queues[1]) then
        return serve_inbox(ticket, waits, queues[1], place)
    end
    local record = records[ticket]
    local lines, queue, entry
    if record then
        lines, queue, entry = was_handed(record)
        if entry and entry_deadline(entry) > now then
            return queue, entry
        end
        lines = lines or waits_for(record)
    end
    queue, entry = take(prefix, queues, now)
    if not recorded or queue == '' then
        return queue, entry
    elseif entry then
        keep_handed(client_key, entry_deadline(entry), now)
        return queue, entry, handed_record(lines or '', queue, entry)
    elseif waits then
        local error = wait_in_lines(ticket, queues, place)
        if error then
            return '', error
        end
        return nil, nil, waiting_record(table.concat(queues, ' '))
    elseif record then
        redis.call('HDEL', client_key, ticket)
    end
end

local reply = {'ok', 0}
local bytes = 0
local next_queue = first_queue
local changed = {}
for slot = first_open, #items, 3 do
    if bytes >= MAX_REPLY_BYTES then
        break
    end
    local queues, inboxes = {}, 0
    for i = 1, tonumber(items[slot + 2]) do
        queues[i] = name_of(queue_keys[next_queue], prefix)
        inboxes = inboxes + (is_inbox(queues[i]) and 1 or 0)
        next_queue = next_queue + 1
    end
    reply[2] = reply[2] + 1
    local ticket = items[slot]
    local queue, entry, record = '', 'ERR an inbox is read by a ticket of its own'
    if inboxes == 0 or #queues == 1 then
        queue, entry, record = serve(ticket, items[slot + 1] == 'wait', queues, reply[2])
    end
    if record then
        records[ticket] = record
        changed[#changed + 1] = ticket
        changed[#changed + 1] = record
    end
    if queue then
        reply[#reply + 1] = ticket
        reply[#reply + 1] = queue
        reply[#reply + 1] = entry
        for _, part in ipairs(type(entry) == 'table' and entry or {entry}) do
            bytes = bytes + #part
        end
    end
end
if #changed > 0 then
    redis.call('HSET', client_key, unpack(changed))
end
if recorded and lease < 0 then
    redis.call('UNLINK', client_key)
end
return reply
