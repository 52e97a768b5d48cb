#!lua flags=allow-oom
-- All that a receiver says: first what became of its finished tickets, then which tickets are open. An open ticket
-- is given its message, the same one however often it is asked for, or else waits for one. Renews the lease.
-- reply: {"ok", served, ticket, queue, entry, ticket, queue, entry, ...}   how many tickets were looked at, and each
--   one that has a message; the tickets after the first `served` were not looked at, as the reply grew too large
--   of those; a queue of "" says that the ticket failed, with the error in place of an entry
-- reply: {"stale"}   nothing was done: say hello with a higher generation, then ask for all open tickets again
local client              = KEYS[1]           -- [hash]     <prefix>c:<client>
local keys, first_key     = KEYS, 2           -- [list...]  <prefix>q:<queue> of each ticket's queues, ticket by ticket
local prefix              = ARGV[1]           -- [text]     of every key
local client_name         = ARGV[2]           -- [text]     the client; empty: take at once, record nothing
local generation          = ARGV[3]           -- [int]      of the client's connection
local lease               = tonumber(ARGV[4]) -- [int]      ms; 0 ends it
local finished            = tonumber(ARGV[5]) -- [int]      how many finished tickets follow
local items, first_item   = ARGV, 6           -- [bytes...] a finished ticket: number, id of the entry it delivered, or empty; then an open one: number, "wait" or "try", count of its queues
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/record"
-- @include "lib/give_back"
-- @include "lib/take"
-- @include "lib/lease"

local REPLY_BYTES = 1048576

local microseconds, now = clock()
local recorded = client_name ~= ''
local first_open = first_item + 2 * finished

-- One read for all: generation, lease, and the records of the tickets.
local records = {}
if recorded then
    local fields = {'g', 'lease'}
    for slot = first_item, first_open - 1, 2 do
        fields[#fields + 1] = items[slot]
    end
    for slot = first_open, #items, 3 do
        fields[#fields + 1] = items[slot]
    end
    records = redis.call('HMGET', client, unpack(fields))
    local lease_end = tonumber(records[2] or 0)
    if records[1] ~= generation or lease_end <= now then
        return {'stale'}
    end
    -- Renewing at every call would cost a write each; a beat comes after a third of the lease.
    if lease == 0 or lease_end - now < lease * 5 / 6 then
        redis.call('HSET', client, 'lease', lease == 0 and 0 or now + lease)
        keep_client(client, lease, false)
    end
end

-- A key that is not ours, in the place of a line, must not undo what was done for the other tickets of the call.
local function stand_in_lines(ticket, queues)
    for _, queue in ipairs(queues) do
        local line = prefix .. 'w:' .. queue
        local stands = redis.pcall('ZADD', line, 'NX', microseconds, client_name .. ' ' .. ticket)
        if type(stands) == 'table' then
            return stands.err
        end
        redis.call('PEXPIRE', line, lease + MEMORY)
    end
end

local function leave_lines(ticket, queues)
    for queue in string.gmatch(queues, '%S+') do
        redis.pcall('ZREM', prefix .. 'w:' .. queue, client_name .. ' ' .. ticket)
    end
end

-- What was delivered is forgotten, what was not goes back.
local given_back = false
if finished > 0 then
    local gone = {}
    local settled, undelivered = {}, {}
    for i = 1, finished do
        local ticket, delivered = items[first_item + 2 * i - 2], items[first_item + 2 * i - 1]
        local record = records[2 + i]
        if record and not settled[ticket] then
            settled[ticket] = true
            gone[#gone + 1] = ticket
            local queues, queue, entry = was_handed(record)
            leave_lines(ticket, queues or waits_for(record))
            if entry and entry_id(entry) ~= delivered then
                undelivered[#undelivered + 1] = {queue, entry}
            end
        end
    end
    if #gone > 0 then
        redis.call('HDEL', client, unpack(gone))
    end
    for _, back in ipairs(undelivered) do
        give_back(prefix, back[1], back[2], now)
        given_back = true
    end
end

-- A message that went back may have gone to an open ticket of this very call.
local function record_of(ticket, number)
    if given_back then
        return redis.call('HGET', client, ticket)
    end
    return records[2 + finished + number]
end

local reply = {'ok', 0}
local bytes = 0
local key = first_key
local changed = {}
for slot = first_open, #items, 3 do
    if bytes >= REPLY_BYTES then
        break
    end
    local ticket, waits, count = items[slot], items[slot + 1] == 'wait', tonumber(items[slot + 2])
    local names = {}
    for i = 1, count do
        names[i] = string.sub(keys[key], #prefix + 3)
        key = key + 1
    end

    local record = recorded and record_of(ticket, reply[2] + 1)
    local lines, queue, entry
    if record then
        lines, queue, entry = was_handed(record)
        if entry and entry_deadline(entry) <= now then
            entry = nil
        end
        lines = lines or waits_for(record)
    end
    if not entry then
        queue, entry = take(prefix, names, now)
        if recorded and entry and queue ~= '' then
            changed[#changed + 1] = ticket
            changed[#changed + 1] = handed_record(lines or '', queue, entry)
            keep_handed(client, entry_deadline(entry), now)
        elseif recorded and not entry and waits then
            local failure = stand_in_lines(ticket, names)
            if failure then
                queue, entry = '', failure
            else
                changed[#changed + 1] = ticket
                changed[#changed + 1] = waiting_record(table.concat(names, ' '))
            end
        end
    end
    if entry then
        reply[#reply + 1] = ticket
        reply[#reply + 1] = queue
        reply[#reply + 1] = entry
        bytes = bytes + #entry
    end
    reply[2] = reply[2] + 1
end
if #changed > 0 then
    redis.call('HSET', client, unpack(changed))
end
return reply
