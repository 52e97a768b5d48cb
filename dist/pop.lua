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
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #queue_keys < 1 or #queue_keys > 1001 then
    at, given, due = 'KEYS', '' .. #queue_keys, 'a number of keys from 1 to 1001; if there are more, make several calls'
elseif #items < 5 or #items > 2505 then
    at, given, due = 'ARGV', '' .. #items, 'a number of arguments from 5 to 2505; if there are more, make several calls'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif generation ~= '' and (generation ~= '0' and generation ~= '1' and (#generation > 12 or not find(generation, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[3] generation', generation, 'a whole number from 0 to 999999999999, or empty'
elseif lease ~= '-1' and lease ~= '0' and lease ~= '1' and (#lease > 7 or not find(lease, '^[1-9]%d*$') or #lease == 7 and lease + 0 > 3600000) then
    at, given, due = 'ARGV[4] lease', lease, 'a whole number of ms from -1 to 3600000'
elseif finished ~= '0' and finished ~= '1' and (#finished > 4 or not find(finished, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[5] finished', finished, 'a whole number from 0 to 9999'
elseif client_key ~= prefix .. 'c:' .. client then
    at, given, due = 'KEYS[1] client_key', client_key, 'the key <prefix>c:<client>, under the prefix of the call'
end
local stem = due or prefix .. 'q:'
for slot = 2, due and 0 or #queue_keys do
    local value = queue_keys[slot]
    if find(value, stem, 1, true) ~= 1 or #value == #stem then
        at, given, due = 'KEYS[' .. slot .. '] queue_keys', value, 'the key <prefix>q:<queue>, under the prefix of the call'
        break
    end
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR pop: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
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
-- Returns the error for an argument that is not what is due, without what would break its line.
local function refuse(script, place, given, due)
    given = string.gsub(given or 'nothing', '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR ' .. script .. ': ' .. place .. ': "' .. given .. '" is not ' .. due)
end
    return refuse('pop', at or 'KEYS', given or #queue_keys, due or 'the number of keys that the counts tell, which is ' .. queues_named)
end
-- Checked
-- @include "lib/layout"
-- What stands where in entries, names and records, and bounds. Constants cost a call next to nothing, which functions do: so a hot
-- path that has no room for functions reads these.

-- An entry is an 18-byte header, written by a script, and a body whose payload no script parses:
--   bytes 1 to 8    the microsecond in which it was pushed  } together the entry's id: in order of
--   bytes 9 and 10  its place in that call                  } pushing, and never given twice
--   bytes 11 to 18  its deadline in milliseconds
--   byte 19         its kind, the first byte of the body
--   from byte 20    in an inbox, for a message to one channel, its address and a space
-- The numbers are big-endian, so entries sort by their bytes as they sort by id.
local ID_BYTES, HEADER_BYTES = 10, 18
local DEADLINE_AT, KIND_AT, ADDRESS_AT = 11, 19, 20

-- An entry without a whole header was not written by a script. It is handed on all the same, and the reader refuses it.
local FAR_FUTURE = 4102444800000

-- An inbox is the queue of one process; its name ends in "!".
local EXCLAMATION_MARK = 33

-- A ticket's record begins with one of these bytes, "w" and "h"; that of one that was handed an entry and stands in no
-- line begins with the text.
local WAITS, WAS_HANDED = 119, 104
local HANDED_ALONE = 'h\n'

-- How long a client is remembered after its lease, in ms.
local MEMORY = 3600000

-- So many expired entries are dropped in one call of a script, which blocks the server meanwhile.
local MAX_EXPIRED = 300

-- An entry of up to so many bytes is not held against the bytes that its inbox may have, so that most sends need not ask for
-- them.
local SMALL_ENTRY = 4096

-- A wake-up carries an entry of up to so many bytes, and those of one call up to so many together. Of a larger one it tells the
-- ticket alone, whose client asks for it: a server ends a connection to which it cannot write what is published.
local MAX_WOKEN_ENTRY, MAX_WOKEN_BYTES = 16384, 32768

-- In a brief mode pop gives a ticket up to so many bytes, and announces what is more. Who reads replies on a connection that listens
-- would lose that connection over a large one, for the same reason.
local MAX_BRIEF_BYTES = 131072

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
-- @include "lib/layout"

-- Serves several open tickets that all name one queue, which is no inbox, with one look at it. The finished tickets of the
-- call must have delivered what they were handed, and stand in no line. Returns the reply; or, where it meets anything
-- else, nil and what it read of the client, with nothing changed.
local function serve_one_queue(client_key, queue_key, prefix, client, generation, lease, items, first_item, first_open, microseconds,
    now, max_bytes, state)
    local call, pcall = redis.call, redis.pcall
    local fields, finished, open = {'g', 'lease'}, 0, 0
    for slot = first_item, first_open - 1, 2 do
        finished = finished + 1
        fields[2 + finished] = items[slot]
    end
    local last = -1
    for slot = first_open, #items, 3 do
        -- A ticket that is named twice would take two messages.
        local ticket = tonumber(items[slot])
        if ticket <= last then
            return nil, state
        end
        last, open = ticket, open + 1
        fields[2 + finished + open] = items[slot]
    end
    state = state or pcall('HMGET', client_key, unpack(fields))
    local left = (tonumber(state[2] or nil) or 0) - now
    if state[1] ~= generation or left <= 0 then
        return {'stale'}
    elseif left < lease * 5 / 6 then
        return nil, state
    end

    local gone, count = {}, 0
    for i = 1, finished do
        local record = state[2 + i]
        if record then
            local space = string.sub(record, 1, 2) == HANDED_ALONE and string.find(record, ' ', 3, true)
            if not space or string.sub(record, space + 1, space + ID_BYTES) ~= items[first_item + 2 * i - 1] then
                return nil, state
            end
            count = count + 1
            gone[count] = items[first_item + 2 * i - 2]
        end
    end
    for i = 3 + finished, 2 + finished + open do
        if state[i] then
            return nil, state
        end
    end
    local queue = string.sub(queue_key, #prefix + 3)
    if call('EXISTS', prefix .. 'b:' .. queue) == 1 then
        return nil, state
    end

    -- All are read before any is removed, because the reply's bytes are bounded.
    local entries = pcall('LRANGE', queue_key, 0, open - 1)
    if entries.err then
        return nil, state
    end
    local reply, size = {'ok', open}, 2
    local changed, fields_set = {}, 0
    local bytes, latest = 0, 0
    local before = HANDED_ALONE .. queue .. ' '
    for i, entry in ipairs(entries) do
        local deadline = #entry >= HEADER_BYTES and struct.unpack('>I8', entry, DEADLINE_AT) or FAR_FUTURE
        bytes = bytes + #entry
        if deadline <= now or bytes >= max_bytes then
            return nil, state
        elseif deadline > latest then
            latest = deadline
        end
        local ticket = fields[2 + finished + i]
        reply[size + 1], reply[size + 2], reply[size + 3] = ticket, queue, entry
        size = size + 3
        changed[fields_set + 1], changed[fields_set + 2] = ticket, before .. entry
        fields_set = fields_set + 2
    end
    if #entries > 0 then
        call('LTRIM', queue_key, #entries, '-1')
    end
    if count > 0 then
        call('HDEL', client_key, unpack(gone))
    end
    if latest - now > MEMORY then
        call('PEXPIRE', client_key, math.min(latest, FAR_FUTURE) - now, 'GT')
    end

    local line, places = {}, 0
    for i = #entries + 1, open do
        if string.byte(items[first_open + 3 * i - 2]) == WAITS then
            local ticket = fields[2 + finished + i]
            line[places + 1], line[places + 2] = microseconds + i, client .. ' ' .. ticket
            places = places + 2
            changed[fields_set + 1], changed[fields_set + 2] = ticket, 'w' .. queue
            fields_set = fields_set + 2
        end
    end
    if places > 0 then
        local line_key = prefix .. 'w:' .. queue
        local added = pcall('ZADD', line_key, 'NX', unpack(line))
        if type(added) == 'table' then
            -- The key belongs to another program.
            for i = #entries + 1, open do
                if string.byte(items[first_open + 3 * i - 2]) == WAITS then
                    reply[size + 1], reply[size + 2], reply[size + 3] = fields[2 + finished + i], '', said_of(added.err, line_key)
                    size = size + 3
                end
            end
            fields_set = 2 * #entries
        else
            call('PEXPIRE', line_key, lease + MEMORY)
        end
    end
    if fields_set > 0 then
        call('HSET', client_key, unpack(changed, 1, fields_set))
    end
    return reply
end
    local reply
    reply, state = serve_one_queue(client_key, queue_keys[first_queue], prefix, client, generation, lease, items, first_item,
        first_open, microseconds, now, MAX_REPLY_BYTES, state)
    if reply then
        return reply
    end
end

-- @include "lib/entry"
-- @include "lib/layout"

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
-- @include "lib/layout"

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
-- @include "lib/record"
-- @include "lib/layout"

-- A ticket's record is a field of its client's hash. The ticket waits, or was handed an entry, or a batch of an inbox:
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
--                                     ...... =<label>            and has this label, if its owner reads labels; so also of ~
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
-- @include "lib/no_right"
-- Returns the error for a user without a right to a command, in the words of the servers themselves.
local function no_right(command)
    command = string.lower(command)
    return "NOPERM this user has no permissions to run the '" .. command ..
        "' command on the keys and channels of this prefix; grant +" .. command
end

-- Returns what a server said of a key, with the key if it is another program's.
local function said_of(said, key)
    return string.find(said, '^WRONGTYPE') and said .. ': ' .. key or said
end

-- Returns what a server said of a command that it refused. Redis 7.0 does not tell which one it was.
local function refusal_of(command, said, key)
    if string.find(said, "can't run this command", 1, true) then
        return no_right(command)
    end
    return key and said_of(said, key) or said
end
-- @include "lib/record"

-- The reader of an inbox takes a batch. The entries of a batch stay at the head of the inbox until they are acknowledged,
-- so a reader that asks again is given the same batch.
local MAX_BATCH_ENTRIES = 200
local MAX_BATCH_BYTES = 131072
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
            return refusal_of('LRANGE', found.err, inbox_queue_key)
        end
        for _, entry in ipairs(found) do
            if due > 0 and bytes + #entry > MAX_BATCH_BYTES then
                return nil, entries, length, controls, seen, seen_controls
            end
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

-- So many times expired entries are cut off in one call, as many as a batch may have each time.
local MAX_CUTS = 5
local cuts = 0

-- Looks for the next batch of an inbox. Returns an error if the key belongs to another program, else nil; then the
-- batch's entries, how many entries of the inbox it spans, and how many of these are control entries. Returns nothing if
-- the inbox is empty, and false if only expired entries were met, and more may stand behind them.
local function next_batch(prefix, inbox, now)
    while cuts < MAX_CUTS do
        local error, entries, length, controls, seen, seen_controls = look_at_head(prefix .. 'q:' .. inbox, now)
        if error then
            return error
        elseif #entries > 0 then
            return nil, entries, length, controls
        elseif seen == 0 then
            return nil
        end
        trim_inbox(prefix, inbox, seen, seen_controls)
        cuts = cuts + 1
    end
    return false
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
-- @include "lib/layout"

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
-- @include "lib/no_right"
-- @include "lib/record"

-- Returns the command to which the user who calls has no right, of those that hand something to a ticket that was taken out of
-- its line: it could not be put back there as it was. Who sends as no client has said no hello, which would have looked at
-- the rights. Looks once in a call.
local hand_denied
local function refused_to_hand(prefix)
    if hand_denied == nil then
        local client_key = prefix .. 'c:'
        hand_denied = not redis.acl_check_cmd('HMGET', client_key, 'f') and 'hmget'
            or not redis.acl_check_cmd('PUBLISH', prefix .. 'wake:', 'v') and 'publish'
            or not redis.acl_check_cmd('HSET', client_key, 'f', 'v') and 'hset'
            or not redis.acl_check_cmd('PEXPIRE', client_key, '1') and 'pexpire'
    end
    return hand_denied
end

-- Has a client say hello again, whose lease counts as over here, though it may live: the clock was perhaps set.
local function wake_again(prefix, client)
    redis.set_repl(redis.REPL_NONE)
    redis.pcall('PUBLISH', prefix .. 'wake:' .. client, 'again')
    redis.set_repl(redis.REPL_ALL)
end

-- Returns the client of the ticket that has waited longest for a queue, the ticket, and its queues; nil if none waits. A
-- ticket that no longer waits leaves the line: it was put there once. The last two values are its place in the line and what
-- stood there. Returns nil and an error if the user who calls has not all rights to hand something over.
local function next_waiter(prefix, queue, now)
    if refused_to_hand(prefix) then
        return nil, no_right(refused_to_hand(prefix))
    end
    local line_key = prefix .. 'w:' .. queue
    while true do
        local first = redis.pcall('ZPOPMIN', line_key)
        local waiter = first[1]
        if not waiter then
            return nil, first.err and string.find(first.err, 'WRONGTYPE', 1, true) ~= 1 and refusal_of('ZPOPMIN', first.err) or nil
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

-- How many bytes of entries this call has published.
local woken_bytes = 0

-- Gives an entry to the ticket that has waited longest for its queue, and publishes it to that ticket's client. Returns
-- false if none waits, and an error with it if the one that waits could not be told. An entry of an inbox is its reader's next batch and stays in the inbox, where it must be already.
local function hand_over(prefix, queue, entry, now)
    while true do
        local client, ticket, queues, place, waiter = next_waiter(prefix, queue, now)
        if not client then
            return false, ticket
        end
        local client_key = prefix .. 'c:' .. client
        local wake_channel = prefix .. 'wake:' .. client
        -- Not to replicas: who is still connected to a server that was demoted would get the message from there, and
        -- another from here.
        redis.set_repl(redis.REPL_NONE)
        local woken = ticket
        if #entry <= MAX_WOKEN_ENTRY and woken_bytes + #entry <= MAX_WOKEN_BYTES then
            woken = ticket .. ' ' .. queue .. ' ' .. entry
            woken_bytes = woken_bytes + #entry
        end
        local listeners = redis.pcall('PUBLISH', wake_channel, woken)
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
-- @include "lib/no_right"

local expired_met = 0

-- Takes the next live entry of some queues: first one that was given back, else the head of the first queue that has
-- one. Drops the expired entries that it meets. Returns the queue and the entry; nil if all queues are empty; '' and the
-- error if a key belongs to another program; false if it has dropped as many as one call may, so others may stand there still.
local function take(prefix, queues, now)
    local pop_lists, pop_given_back = {#queues}, {#queues}
    for i, queue in ipairs(queues) do
        pop_lists[i + 1] = prefix .. 'q:' .. queue
        pop_given_back[i + 1] = prefix .. 'b:' .. queue
    end
    pop_lists[#queues + 2] = 'LEFT'
    pop_given_back[#queues + 2] = 'MIN'
    while expired_met < MAX_EXPIRED do
        local found, command = redis.pcall('ZMPOP', unpack(pop_given_back)), 'ZMPOP'
        local entry
        if not found then
            found, command = redis.pcall('LMPOP', unpack(pop_lists)), 'LMPOP'
            entry = found and found[2] and found[2][1]
        else
            entry = found[2] and found[2][1][1]
        end
        if not found then
            return nil
        elseif found.err then
            local keys, length = pop_lists, 'LLEN'
            if command == 'ZMPOP' then
                keys, length = pop_given_back, 'ZCARD'
            end
            local place = 2
            while place <= #queues and type(redis.pcall(length, keys[place])) == 'number' do
                place = place + 1
            end
            return '', refusal_of(command, found.err, keys[place])
        end
        if entry_deadline(entry) > now then
            return name_of(found[1], prefix), entry
        end
        expired_met = expired_met + 1
    end
    return false
end
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
