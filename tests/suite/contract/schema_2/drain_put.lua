#!lua
-- Gives a queue the entries that were taken out of it on another server: to the tickets that wait longest, else in front
-- of all that was sent here. The same batch is put only once.
-- reply: {"put", entries}   how many had not expired
-- reply: {"again"}   nothing was done: the batch was put before
local queue  = KEYS[1] -- [list]    <prefix>q:<queue>
local marker = KEYS[2] -- [string]  <prefix>p:<batch>
local prefix = ARGV[1] -- [text]    of every key
local entries, first_entry = ARGV, 2 -- [bytes...] of each entry the ms that it has left, and the entry
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
-- @include "lib/limits"
-- Lua can pass on some 8,000 values in one go; a larger call would fail halfway through its work.
local MOST_VALUES = 3500

local function refuse_too_large(keys, arguments)
    if keys > 2 * MOST_VALUES or arguments > MOST_VALUES then
        return redis.error_reply('ERR a call has at most ' .. 2 * MOST_VALUES .. ' keys and ' .. MOST_VALUES ..
            ' arguments, this one has ' .. keys .. ' and ' .. arguments .. ': make several')
    end
end
-- @include "lib/give_back"
-- @include "lib/entry"
-- @include "lib/hand_over"
-- @include "lib/entry"
-- @include "lib/inbox"
-- An inbox is the queue of one process; its name ends in "!".
local function is_inbox(queue)
    return string.byte(queue, -1) == 33
end
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

local too_large = refuse_too_large(2, #entries)
if too_large then
    return too_large
end

local longest = 0
for slot = first_entry, #entries, 2 do
    longest = math.max(longest, tonumber(entries[slot]))
end
-- It outlasts all the entries: should the batch come again later, none is left to be put.
if longest > 0 and not redis.call('SET', marker, '', 'NX', 'PX', longest + MEMORY) then
    return {'again'}
end

local _, now = clock()
local name = string.sub(queue, #prefix + 3)
local put = 0
for slot = first_entry, #entries, 2 do
    local left, entry = tonumber(entries[slot]), entries[slot + 1]
    if left > 0 then
        -- This server's clock is another.
        if #entry >= 18 then
            entry = string.sub(entry, 1, 10) .. entry_time(now + left) .. string.sub(entry, 19)
        end
        give_back(prefix, name, entry, now)
        put = put + 1
    end
end
return {'put', put}
