#!lua flags=allow-oom
-- All that a receiver tells the server: first what became of its finished tickets, then which tickets are open. An open ticket
-- is given its message, the same one however often it is asked for, or else waits for one. A ticket of an inbox is
-- given a batch of entries, which stay in the inbox until they are acknowledged. Renews the lease.
-- reply: {"ok", served, ticket, queue, entry, ticket, queue, entry, ...}   how many tickets were looked at, the rest
--   being left for another call as the reply grew too large; and each of them that has a message, or that failed:
--   then the queue is "" and an error stands in place of the entry. Of an inbox a list of entries stands there
-- reply: {"stale"}   nothing was done: send hello with a higher generation, then ask for all open tickets again
local client              = KEYS[1]           -- [hash]     <prefix>c:<client>
local keys, first_key     = KEYS, 2           -- [list...]  <prefix>q:<queue> of each ticket's queues, ticket by ticket
local prefix              = ARGV[1]           -- [text]     of every key
local client_name         = ARGV[2]           -- [text]     the client; empty: take at once, record nothing
local generation          = ARGV[3]           -- [int]      of the client's connection
local lease               = tonumber(ARGV[4]) -- [int]      ms, at most an hour; 0 ends it
local finished            = tonumber(ARGV[5]) -- [int]      how many finished tickets follow
local items, first_item   = ARGV, 6           -- [bytes...] a finished ticket: number, id of the (last) entry it delivered, or empty; then an open one: number, "wait" or "try", count of its queues
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/limits"
-- @include "lib/record"
-- @include "lib/batch"
-- @include "lib/give_back"
-- @include "lib/take"
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

-- Puts a ticket into the lines of its queues; returns the error of a key that is no line.
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

-- Gives an open ticket what it was handed before, else the next message, else lets it wait. Returns the queue and the
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
