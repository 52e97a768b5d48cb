#!lua flags=allow-oom
-- Takes all that a receiver reports: first what became of its finished tickets, then which tickets are open. An open
-- ticket is given its message, the same one however often it asks, or else waits for one. A ticket of an inbox is given a
-- batch of entries, which stay in the inbox until they are acknowledged. Renews the lease.
-- reply: {"ok", served, ticket, queue, entry, ticket, queue, entry, ...}   how many tickets were looked at, the rest
--   being left for another call as the reply grew too large, or as so many expired entries were dropped; and each of
--   them that has a message, or that failed: then the queue is "" and an error stands in place of the entry. Of an
--   inbox a list of entries stands there. In a brief mode an empty text stands there for more than 128 KiB: fetch gives it
-- reply: {"stale"}   nothing was done: send hello with a higher generation, then ask for all open tickets again
local client_key              = KEYS[1] -- [hash]                         <prefix>c:<client>
local queue_keys, first_queue = KEYS, 2 -- [0..1000 list...]              <prefix>q:<queue> of each ticket's queues, ticket by ticket
local prefix                  = ARGV[1] -- [prefix]                       of every key
local client                  = ARGV[2] -- [text]                         the client; empty: take at once, record nothing
local generation              = ARGV[3] -- [int 0..999999999999 or empty] of the client's connection
local lease                   = ARGV[4] -- [int -1..3600000 ms]           ms, at most an hour; 0 ends it; -1 also forgets the client, which has nothing else under way
local finished                = ARGV[5] -- [int 0..9999]                  how many finished tickets follow
local items, first_item       = ARGV, 6 -- [0..2500 bytes...]             a finished ticket: number, id of the (last) entry it delivered, or empty; then an open one: number, "wait" or "try", count of its queues; "wait-brief" and "try-brief" where a large entry is to be announced
lease = lease + 0
local first_open, queues_named = first_item + 2 * finished, first_queue - 1
-- Checks of what stands side by side: finished tickets, then open ones, which have as many queues as their counts tell.
if first_open > #items + 1 or (#items + 1 - first_open) % 3 ~= 0 then
    at, given, due = 'ARGV', #items, 'the number of arguments: two of each finished ticket, and three of each open one'
elseif lease < 0 and client ~= '' and first_open <= #items then
    at, given, due = 'ARGV[4] lease', lease, 'a lease of a call with open tickets'
end
for slot = first_item, due and 0 or first_open - 1, 2 do
    if #items[slot] > 20 or not find(items[slot], '^%d+$') then
        at, given, due = 'ARGV[' .. slot .. '] ticket', items[slot], 'a whole number'
        break
    end
end
for slot = first_open, due and 0 or #items, 3 do
    local ticket, mode, count = items[slot], items[slot + 1], items[slot + 2]
    if #ticket > 20 or not find(ticket, '^%d+$') then
        at, given, due = 'ARGV[' .. slot .. '] ticket', ticket, 'a whole number'
    elseif mode ~= 'wait-brief' and mode ~= 'try-brief' and mode ~= 'wait' and mode ~= 'try' then
        at, given, due = 'ARGV[' .. slot + 1 .. '] mode', mode, '"wait" or "try", or one of them with "-brief"'
    elseif client == '' and #mode > 4 then
        at, given, due = 'ARGV[' .. slot + 1 .. '] mode', mode, 'a mode of a call without a client, of which nothing can be fetched'
    elseif count ~= '1' and (#count > 4 or not find(count, '^[1-9]%d*$')) or queues_named + count > #queue_keys then
        at, given, due = 'ARGV[' .. slot + 2 .. '] count', count, 'the number of queues of this ticket, of which each has a key'
    end
    if due then
        break
    end
    for slot = queues_named + 1, queues_named + count do
        -- A record separates queues by spaces.
        if not find(queue_keys[slot], '^%S+$', #stem + 1) then
            at, given, due = 'KEYS[' .. slot .. '] queue_keys', queue_keys[slot], 'the key of a queue without space'
        end
    end
    queues_named = queues_named + count
end
if due or queues_named < #queue_keys then
-- @include "lib/refuse"
    return refuse('pop', at or 'KEYS', given or #queue_keys, due or 'the number of keys that the counts tell, which is ' .. queues_named)
end
-- Checked
-- @include "lib/layout"

local MAX_REPLY_BYTES = 131072

local call, pcall = redis.call, redis.pcall
local time = call('TIME')
local microseconds = time[1] * 1000000 + time[2]
local now = math.floor(microseconds / 1000)
local recorded = client ~= ''

-- Generation, lease and the records of the tickets, where a path below has read them and then left: the same fields in the
-- same order as the text at the end reads them.
local state
-- How many expired entries were dropped.
local dropped = 0

-- Straight path: one open ticket, no inbox, and at most one finished ticket, which delivered what it was handed and stands in
-- no line. What this path does not know it leaves, with nothing but an expired entry gone, to the text below it, which
-- does the call from the start. No function stands above it: to make one costs as much as a command.
repeat
    local ticket, last_queue = items[first_open], #queue_keys
    if #items ~= first_open + 2 or first_open > first_item + 2 or recorded and lease <= 0 then
        break
    end
    local delivered
    if recorded then
        state = pcall('HMGET', client_key, 'g', 'lease', items[first_item], ticket)
        local left = (tonumber(state[2] or nil) or 0) - now
        if state[1] ~= generation or left <= 0 then
            return {'stale'}
        elseif left < lease * 5 / 6 or state[4] then
            break
        end
        delivered = first_open > first_item and state[3]
        if delivered then
            local space = string.sub(delivered, 1, 2) == HANDED_ALONE and string.find(delivered, ' ', 3, true)
            if not space or string.sub(delivered, space + 1, space + ID_BYTES) ~= items[first_item + 1] then
                break
            end
        end
    end

    -- Of several queues the first that has a message gives it; that none has is left to the text below.
    local is_one, queue_key, entry, deadline = last_queue == first_queue, queue_keys[first_queue], nil, nil
    local given_back, name_at = prefix .. 'b:', #prefix + 3
    if is_one then
        if string.byte(queue_key, -1) == EXCLAMATION_MARK
            or call('EXISTS', given_back .. string.sub(queue_key, name_at)) == 1 then
            break
        end
    else
        local names, has_inbox = {}, false
        for number = first_queue, last_queue do
            queue_key = queue_keys[number]
            names[number - 1] = given_back .. string.sub(queue_key, name_at)
            has_inbox = has_inbox or string.byte(queue_key, -1) == EXCLAMATION_MARK
        end
        if has_inbox or call('EXISTS', unpack(names)) > 0 then
            break
        end
        -- The keys stand in the call's own list, where the client's key makes room for their number.
        queue_keys[1], queue_keys[last_queue + 1] = last_queue - 1, 'LEFT'
    end
    repeat
        if is_one then
            entry = pcall('LPOP', queue_key)
        else
            entry = pcall('LMPOP', unpack(queue_keys))
            if entry and not entry.err then
                queue_key, entry = entry[1], entry[2][1]
            end
        end
        local is_expired = false
        if type(entry) == 'string' then
            deadline = #entry >= HEADER_BYTES and struct.unpack('>I8', entry, DEADLINE_AT) or FAR_FUTURE
            is_expired = deadline <= now
            dropped = is_expired and dropped + 1 or dropped
        end
    until not is_expired or dropped == MAX_EXPIRED
    if not is_one then
        queue_keys[1], queue_keys[last_queue + 1] = client_key, nil
    end
    if dropped == MAX_EXPIRED or type(entry) == 'table' or not entry and not is_one then
        break
    end

    local queue = string.sub(queue_key, name_at)
    if delivered then
        call('HDEL', client_key, items[first_item])
    end
    if entry then
        if recorded then
            if deadline - now > MEMORY then
                call('PEXPIRE', client_key, math.min(deadline, FAR_FUTURE) - now, 'GT')
            end
            call('HSET', client_key, ticket, HANDED_ALONE .. queue .. ' ' .. entry)
        end
        return {'ok', 1, ticket, queue, #entry > MAX_BRIEF_BYTES and #items[first_open + 1] > 4 and '' or entry}
    end
    if recorded and string.byte(items[first_open + 1]) == WAITS then
        local line_key = prefix .. 'w:' .. queue
        local added = pcall('ZADD', line_key, 'NX', microseconds + 1, client .. ' ' .. ticket)
        if type(added) == 'table' then
            return {'ok', 1, ticket, '', string.find(added.err, '^WRONGTYPE') and added.err .. ': ' .. line_key or added.err}
        end
        call('PEXPIRE', line_key, lease + MEMORY)
        call('HSET', client_key, ticket, 'w' .. queue)
    end
    return {'ok', 1}
until true

-- The same for several tickets of one queue.
local is_one_queue = recorded and lease > 0 and #queue_keys > first_queue
    and string.byte(queue_keys[first_queue], -1) ~= EXCLAMATION_MARK
for number = first_queue + 1, #queue_keys do
    is_one_queue = is_one_queue and queue_keys[number] == queue_keys[first_queue]
end
if is_one_queue and 3 * (#queue_keys - first_queue + 1) == #items - first_open + 1 then
-- @include "lib/serve_one_queue"
    local reply
    reply, state = serve_one_queue(client_key, queue_keys[first_queue], prefix, client, generation, lease, items, first_item,
        first_open, microseconds, now, MAX_REPLY_BYTES, state)
    if reply then
        return reply
    end
end

-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/key"
-- @include "lib/record"
-- @include "lib/batch"
-- @include "lib/give_back"
-- @include "lib/take"
-- @include "lib/lease"
-- @include "lib/no_right"

expired_met = dropped

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
    local values = state or pcall('HMGET', client_key, unpack(fields))
    for i, field in ipairs(fields) do
        records[field] = values[i]
    end
    state = nil
end

if recorded then
    read_records()
    local lease_end = tonumber(records.lease or nil) or 0
    if records.g ~= generation or lease_end <= now then
        return {'stale'}
    end
    -- A renewal at every call would cost a write each. A client with nothing to report calls after a third of the lease.
    if lease <= 0 or lease_end - now < lease * 5 / 6 then
        call('HSET', client_key, 'lease', lease <= 0 and 0 or now + lease)
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
            pcall('ZREM', prefix .. 'w:' .. waited_for, client .. ' ' .. ticket)
        end
        if entry and entry_id(entry) ~= delivered then
            undelivered[#undelivered + 1] = {queue, entry}
        elseif delivered ~= '' and was_batch(record) then
            acknowledge_batch(prefix, record, delivered)
        end
    end
end
if #gone > 0 then
    call('HDEL', client_key, unpack(gone))
end
for _, back in ipairs(undelivered) do
    give_back(prefix, back[1], back[2], now)
end
if #undelivered > 0 then
    -- An entry may have gone to an open ticket of this very call.
    read_records()
end

-- The lines in which tickets of this call are to wait, in the order of their first tickets: for each the scores and
-- members that come in. All of a line come in with one command, at the end.
local lines, line_of = {}, {}
local function wait_in_lines(ticket, queues, place)
    -- As a text, because the server makes one of each number anew.
    local member, score = client .. ' ' .. ticket, string.format('%.0f', microseconds + place)
    for _, queue in ipairs(queues) do
        local line = line_of[queue]
        if not line then
            line = {queue = queue}
            line_of[queue] = line
            lines[#lines + 1] = line
        end
        local size = #line
        line[size + 1], line[size + 2] = score, member
    end
end

-- Puts the tickets into the lines. Returns the errors of lines whose keys belong to another program, by their queues.
local function join_lines()
    local errors
    for _, line in ipairs(lines) do
        local line_key = prefix .. 'w:' .. line.queue
        local added = pcall('ZADD', line_key, 'NX', unpack(line))
        if type(added) == 'table' then
            errors = errors or {}
            errors[line.queue] = said_of(added.err, line_key)
        else
            call('PEXPIRE', line_key, lease + MEMORY)
        end
    end
    return errors
end

-- Does for a ticket of an inbox what `serve` does for others; in place of an entry it returns a list of entries.
local function serve_inbox(ticket, waits, inbox, place)
    local record = records[ticket]
    local same_entries = record and same_batch(prefix, record, now)
    if same_entries then
        return inbox, same_entries
    end
    local error, entries, length, controls = next_batch(prefix, inbox, now)
    if error == false then
        return false
    elseif error then
        return '', error
    elseif entries then
        if recorded then
            return inbox, entries, batch_record(inbox, length, controls, entry_id(entries[#entries]))
        end
        -- What is taken by nobody is given once, so it must be certain that it can be taken out.
        local key, hash = prefix .. 'q:' .. inbox, prefix .. 'i:' .. inbox
        local denied = not redis.acl_check_cmd('LTRIM', key, '0', '0') and 'ltrim'
            or not redis.acl_check_cmd('HMGET', hash, 'f') and 'hmget' or not redis.acl_check_cmd('HSET', hash, 'f', 'v') and 'hset'
        if denied then
            return '', no_right(denied)
        end
        trim_inbox(prefix, inbox, length, controls)
        return inbox, entries
    elseif not recorded then
        return nil
    end
    if waits then
        wait_in_lines(ticket, {inbox}, place)
        return nil, nil, waiting_record(inbox)
    elseif record then
        call('HDEL', client_key, ticket)
    end
end

-- Queues in which this call found nothing. Nothing comes into them before it ends.
local is_empty = {}

-- Takes the next live entry of some queues, as `take` does, and looks at none again that was found empty.
local function take_of(queues)
    for _, queue in ipairs(queues) do
        if not is_empty[queue] then
            local found, entry = take(prefix, queues, now)
            if found == nil then
                for _, empty in ipairs(queues) do
                    is_empty[empty] = true
                end
            end
            return found, entry
        end
    end
end

-- Gives an open ticket the entry that it was handed before, else the next one, else lets it wait. Returns the queue and
-- the entry, or '' and an error, or nil and nil; and the ticket's record if it is a new one.
local function serve(ticket, waits, queues, place)
    if #queues == 1 and is_inbox(queues[1]) then
        return serve_inbox(ticket, waits, queues[1], place)
    end
    local record = records[ticket]
    local lines_of_record, queue, entry
    if record then
        lines_of_record, queue, entry = was_handed(record)
        if entry and entry_deadline(entry) > now then
            return queue, entry
        end
        lines_of_record = lines_of_record or waits_for(record)
    end
    queue, entry = take_of(queues)
    if not recorded or queue == '' or queue == false then
        return queue, entry
    elseif entry then
        keep_handed(client_key, entry_deadline(entry), now)
        return queue, entry, handed_record(lines_of_record or '', queue, entry)
    elseif waits then
        wait_in_lines(ticket, queues, place)
        return nil, nil, waiting_record(table.concat(queues, ' '))
    elseif record then
        call('HDEL', client_key, ticket)
    end
end

-- For each ticket that is looked at: the ticket, its queues, and what `serve` returned.
local served = {}
local bytes = 0
local next_queue = first_queue
local names = {}
for slot = first_open, #items, 3 do
    if bytes >= MAX_REPLY_BYTES then
        break
    end
    local queues, inboxes = {}, 0
    for i = 1, items[slot + 2] + 0 do
        local queue_key = queue_keys[next_queue]
        local queue = names[queue_key]
        if not queue then
            queue = name_of(queue_key, prefix)
            names[queue_key] = queue
        end
        queues[i] = queue
        inboxes = inboxes + (is_inbox(queue) and 1 or 0)
        next_queue = next_queue + 1
    end
    local ticket = items[slot]
    local queue, entry, record = '', 'ERR an inbox is read by a ticket of its own'
    if inboxes == 0 or #queues == 1 then
        queue, entry, record = serve(ticket, string.byte(items[slot + 1]) == WAITS, queues, #served + 1)
    end
    if queue == false then
        -- It must not wait: there may be entries, and whoever sends hands over at an empty queue only.
        break
    end
    if record then
        records[ticket] = record
    end
    local weight = 0
    for _, part in ipairs(type(entry) == 'table' and entry or {entry}) do
        weight = weight + #part
    end
    if weight > MAX_BRIEF_BYTES and #items[slot + 1] > 4 then
        entry, weight = '', 0
    end
    bytes = bytes + weight
    served[#served + 1] = {ticket = ticket, queues = queues, queue = queue, entry = entry, record = record}
end

local reply = {'ok', #served}
local changed = {}
local errors = join_lines()
for _, one in ipairs(served) do
    local queue, entry, record = one.queue, one.entry, one.record
    if errors and record and not queue then
        for _, waited_for in ipairs(one.queues) do
            if errors[waited_for] then
                queue, entry, record = '', errors[waited_for], nil
            end
        end
    end
    if record then
        changed[#changed + 1] = one.ticket
        changed[#changed + 1] = record
    end
    if queue then
        reply[#reply + 1] = one.ticket
        reply[#reply + 1] = queue
        reply[#reply + 1] = entry
    end
end
if #changed > 0 then
    call('HSET', client_key, unpack(changed))
end
if recorded and lease < 0 then
    call('UNLINK', client_key)
end
return reply
