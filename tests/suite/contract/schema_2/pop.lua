#!lua flags=allow-oom
-- All that a receiver says: first what became of its finished tickets, then which tickets are open. An open ticket
-- is given its message, the same one however often it is asked for, or else waits for one. A ticket of an inbox is
-- given a batch of entries, which stay in the inbox until they are acknowledged. Renews the lease.
-- reply: {"ok", served, ticket, queue, entry, ticket, queue, entry, ...}   how many tickets were looked at, the rest
--   being left for another call as the reply grew too large; and each of them that has a message, or that failed:
--   then the queue is "" and an error stands in place of the entry. Of an inbox a list of entries stands there
-- reply: {"stale"}   nothing was done: say hello with a higher generation, then ask for all open tickets again
local client              = KEYS[1]           -- [hash]     <prefix>c:<client>
local keys, first_key     = KEYS, 2           -- [list...]  <prefix>q:<queue> of each ticket's queues, ticket by ticket
local prefix              = ARGV[1]           -- [text]     of every key
local client_name         = ARGV[2]           -- [text]     the client; empty: take at once, record nothing
local generation          = ARGV[3]           -- [int]      of the client's connection
local lease               = tonumber(ARGV[4]) -- [int]      ms, at most an hour; 0 ends it
local finished            = tonumber(ARGV[5]) -- [int]      how many finished tickets follow
local items, first_item   = ARGV, 6           -- [bytes...] a finished ticket: number, id of the (last) entry it delivered, or empty; then an open one: number, "wait" or "try", count of its queues
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
-- @include "lib/batch"
-- @include "lib/entry"
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
-- @include "lib/record"

-- The reader of an inbox takes a batch. Its entries stay at the head of the inbox until they are acknowledged, so a
-- batch that is asked for again is the same again.
local BATCH_ENTRIES = 200
local BATCH_BYTES = 1048576
-- How many are read at once: small ones may be followed by large ones.
local BATCH_STEP = 16

-- Whether a reader is given an entry. Control entries are also when the membership has ended of which they tell, for
-- that may have been a longer one before. What is empty could not be acknowledged.
local function is_due(entry, now)
    return is_control(entry) or #entry > 0 and entry_deadline(entry) > now
end

-- The live entries among the first of an inbox. Says them, how many entries they span and how many of these are
-- control entries; then how many it saw and how many of those are. Or nil, and an error.
local function look_at_head(key, most, now)
    local entries, due, length, controls = {}, 0, 0, 0
    local seen, seen_controls, bytes, step = 0, 0, 0, 1
    while seen < most and bytes < BATCH_BYTES do
        local found = redis.pcall('LRANGE', key, seen, seen + step - 1)
        if found.err then
            return nil, found.err
        end
        for _, entry in ipairs(found) do
            seen = seen + 1
            bytes = bytes + #entry
            -- As is_due, in one step, for this is most of what a batch costs.
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
            if bytes >= BATCH_BYTES then
                break
            end
        end
        if #found < step then
            break
        end
        -- As many as fit if the next are as large as these.
        step = math.min(BATCH_STEP, most - seen, math.max(1, math.floor((BATCH_BYTES - bytes) * seen / bytes)))
    end
    return entries, length, controls, seen, seen_controls
end

local function trim_inbox(prefix, inbox, length, controls)
    redis.call('LTRIM', prefix .. 'q:' .. inbox, length, '-1')
    forget_controls(prefix, inbox, controls)
end

-- The next batch of an inbox: its entries, its length and its control entries; nil when the inbox is empty, nil and an
-- error when its key is not ours.
local function next_batch(prefix, inbox, now)
    while true do
        local entries, length, controls, seen, seen_controls = look_at_head(prefix .. 'q:' .. inbox, BATCH_ENTRIES, now)
        if not entries then
            return nil, length
        elseif #entries > 0 then
            return entries, length, controls
        elseif seen == 0 then
            return nil
        end
        trim_inbox(prefix, inbox, seen, seen_controls)
    end
end

local function is_after(entry, id)
    local pushed, place = struct.unpack('>I8I2', entry)
    local last_pushed, last_place = struct.unpack('>I8I2', id)
    return pushed > last_pushed or pushed == last_pushed and place > last_place
end

-- How many of some entries go up to the one with an id, and how many of them are control entries. That one may have
-- expired and left the inbox meanwhile: then all go that were pushed before it.
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
        if #id < 10 or #entry < 10 or is_after(entry, id) then
            break
        end
        length = place
        if is_control(entry) then
            controls = controls + 1
        end
    end
    return length, controls
end

-- What is left of the batch of a record; nil when nothing is.
local function same_batch(prefix, record, now)
    local inbox, length, _, last = was_batch(record)
    if not inbox then
        return nil
    end
    -- Expired entries may have left the inbox meanwhile, so the last one may stand before its place.
    local found = redis.pcall('LRANGE', prefix .. 'q:' .. inbox, 0, length - 1)
    local entries = {}
    for place = 1, (count_to(found, last)) do
        if is_due(found[place], now) then
            entries[#entries + 1] = found[place]
        end
    end
    return #entries > 0 and entries or nil
end

-- The reader has the entries of its batch up to the one with this id. What was pushed behind the batch it cannot have.
local function acknowledge_batch(prefix, record, id)
    local inbox, length, controls, last = was_batch(record)
    local key = prefix .. 'q:' .. inbox
    if id == last then
        local entry = redis.pcall('LINDEX', key, length - 1)
        if type(entry) == 'string' and entry_id(entry) == last then
            return trim_inbox(prefix, inbox, length, controls)
        end
    end
    if #id >= 10 and #last >= 10 and is_after(id, last) then
        return
    end
    length, controls = count_to(redis.pcall('LRANGE', key, 0, length - 1), id)
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

-- Gives an entry, that a ticket was handed and did not deliver, to the next ticket that waits, else back to its
-- place in the queue.
local function give_back(prefix, queue, entry, now)
    local left = entry_deadline(entry) - now
    if left <= 0 or hand_over(prefix, queue, entry, now) then
        return
    end
    local key = prefix .. 'b:' .. queue
    -- All have one score: equal scores sort by their bytes, and these begin with the id.
    local added = redis.pcall('ZADD', key, 0, entry)
    if type(added) == 'table' then
        -- A key of another's making stands there: better out of order than lost.
        redis.pcall('RPUSH', prefix .. 'q:' .. queue, entry)
    elseif redis.call('PEXPIRE', key, left, 'NX') == 0 then
        redis.call('PEXPIRE', key, left, 'GT')
    end
end
-- @include "lib/take"
-- @include "lib/entry"

-- Takes the next live entry of some queues: first one that was given back, else the head of the first queue that
-- has one. Says the queue's name and the entry; nil when all are empty; '' and the error when a key is not ours.
-- Expired entries that it meets are dropped.
local function take(prefix, names, now)
    local start = #prefix + 3
    local lists, given_back = {#names}, {#names}
    for i, name in ipairs(names) do
        lists[i + 1] = prefix .. 'q:' .. name
        given_back[i + 1] = prefix .. 'b:' .. name
    end
    lists[#names + 2] = 'LEFT'
    given_back[#names + 2] = 'MIN'
    while true do
        local found = redis.pcall('ZMPOP', unpack(given_back))
        local entry
        if not found then
            found = redis.pcall('LMPOP', unpack(lists))
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
            return string.sub(found[1], start), entry
        end
    end
end
-- @include "lib/lease"

local REPLY_BYTES = 1048576

local too_large = refuse_too_large(#keys, #items)
if too_large then
    return too_large
end

local microseconds, now = clock()
local recorded = client_name ~= ''
local first_open = first_item + 2 * finished
lease = bounded_lease(lease)

-- One read for all: generation, lease, and the records of the tickets.
local fields = {'g', 'lease'}
for slot = first_item, first_open - 1, 2 do
    fields[#fields + 1] = items[slot]
end
for slot = first_open, #items, 3 do
    fields[#fields + 1] = items[slot]
end
local records = {}
local function read_records()
    for i, value in ipairs(redis.call('HMGET', client, unpack(fields))) do
        records[fields[i]] = value
    end
end

if recorded then
    read_records()
    local lease_end = tonumber(records.lease or 0)
    if records.g ~= generation or lease_end <= now then
        return {'stale'}
    end
    -- Renewing at every call would cost a write each; a beat comes after a third of the lease.
    if lease == 0 or lease_end - now < lease * 5 / 6 then
        redis.call('HSET', client, 'lease', lease == 0 and 0 or now + lease)
        keep_client(client, lease, false)
    end
end

-- What was delivered is forgotten, what was not goes back.
local gone, undelivered = {}, {}
for slot = first_item, first_open - 1, 2 do
    local ticket, delivered = items[slot], items[slot + 1]
    local record = records[ticket]
    if record then
        records[ticket] = nil
        gone[#gone + 1] = ticket
        local queues, queue, entry = was_handed(record)
        for name in string.gmatch(queues or waits_for(record) or '', '%S+') do
            redis.pcall('ZREM', prefix .. 'w:' .. name, client_name .. ' ' .. ticket)
        end
        if entry and entry_id(entry) ~= delivered then
            undelivered[#undelivered + 1] = {queue, entry}
        elseif delivered ~= '' and was_batch(record) then
            acknowledge_batch(prefix, record, delivered)
        end
    end
end
if #gone > 0 then
    redis.call('HDEL', client, unpack(gone))
end
for _, back in ipairs(undelivered) do
    give_back(prefix, back[1], back[2], now)
end
if #undelivered > 0 then
    -- It may have gone to an open ticket of this very call.
    read_records()
end

-- Puts a ticket into the lines of its queues; says the error of a line that is none.
local function wait_in_lines(ticket, names, place)
    for _, name in ipairs(names) do
        local line = prefix .. 'w:' .. name
        local added = redis.pcall('ZADD', line, 'NX', microseconds + place, client_name .. ' ' .. ticket)
        if type(added) == 'table' then
            return added.err
        end
        redis.call('PEXPIRE', line, lease + MEMORY)
    end
end

-- The same for a ticket of an inbox, and a list of entries.
local function serve_inbox(ticket, waits, inbox, place)
    local record = records[ticket]
    local entries = record and same_batch(prefix, record, now)
    if entries then
        return inbox, entries
    end
    local length, controls
    entries, length, controls = next_batch(prefix, inbox, now)
    if entries then
        if recorded then
            return inbox, entries, batch_record(inbox, length, controls, entry_id(entries[#entries]))
        end
        trim_inbox(prefix, inbox, length, controls)
        return inbox, entries
    elseif length then
        return '', length
    elseif not recorded then
        return nil
    end
    if waits then
        local error = wait_in_lines(ticket, {inbox}, place)
        if error then
            return '', error
        end
        return nil, nil, waiting_record(inbox)
    elseif record then
        redis.call('HDEL', client, ticket)
    end
end

-- Gives an open ticket what it was handed before, else the next message, else lets it wait. Says the queue and the
-- entry, or '' and an error, or nothing; and the record to keep.
local function serve(ticket, waits, names, place)
    if #names == 1 and is_inbox(names[1]) then
        return serve_inbox(ticket, waits, names[1], place)
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
    queue, entry = take(prefix, names, now)
    if not recorded or queue == '' then
        return queue, entry
    elseif entry then
        keep_handed(client, entry_deadline(entry), now)
        return queue, entry, handed_record(lines or '', queue, entry)
    elseif waits then
        local error = wait_in_lines(ticket, names, place)
        if error then
            return '', error
        end
        return nil, nil, waiting_record(table.concat(names, ' '))
    elseif record then
        redis.call('HDEL', client, ticket)
    end
end

local reply = {'ok', 0}
local bytes = 0
local key = first_key
local changed = {}
for slot = first_open, #items, 3 do
    if bytes >= REPLY_BYTES then
        break
    end
    local names, inboxes = {}, 0
    for i = 1, tonumber(items[slot + 2]) do
        names[i] = string.sub(keys[key], #prefix + 3)
        inboxes = inboxes + (is_inbox(names[i]) and 1 or 0)
        key = key + 1
    end
    reply[2] = reply[2] + 1
    local ticket = items[slot]
    local queue, entry, record = '', 'ERR an inbox is read by a ticket of its own'
    if inboxes == 0 or #names == 1 then
        queue, entry, record = serve(ticket, items[slot + 1] == 'wait', names, reply[2])
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
    redis.call('HSET', client, unpack(changed))
end
return reply
