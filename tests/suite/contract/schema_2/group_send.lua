#!lua
-- Sends a message to a group, in steps of at most 1,000 queues: one entry for each queue that has members, however many
-- they are. A full queue is passed over.
-- reply: {"ok", cursor, delivered, full, expired, failed, queue, ...}   the next step's cursor, empty after the last
--   one; to how many queues of this step it went, how many were full, how many had no member any more, and how many
--   keys were not ours; then the names of the full ones, if they were asked for
-- reply: {"stale"}   nothing was sent: the client says this on a connection that it has since replaced
local index      = KEYS[1] -- [zset]   <prefix>g:<group>
local prefix     = ARGV[1] -- [text]   of every key
local group      = ARGV[2] -- [text]   the group's name
local expiry     = ARGV[3] -- [int]    ms that the message may wait
local client     = ARGV[4] -- [text]   the client that says this; else empty
local generation = ARGV[5] -- [int]    of the client's connection; else empty
local cursor     = ARGV[6] -- [text]   empty at first, then what the step before said
local names      = ARGV[7] -- [text]   "names" to be told which queues were full; else empty
local body       = ARGV[8] -- [bytes]  g, the group, a space, and the payload
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
-- @include "lib/groups"
-- @include "lib/inbox"
-- An inbox is the queue of one process; its name ends in "!".
local function is_inbox(queue)
    return string.byte(queue, -1) == 33
end

-- A group is kept by the queues of its members, each with a row: until when it has members, how many messages it holds
-- and when a member was added last. The members of one queue are addresses with the end of each one's membership; of a
-- queue that is no inbox the one address is empty.
local function index_key(prefix, group)
    return prefix .. 'g:' .. group
end

local function rows_key(prefix, group)
    return prefix .. 'd:' .. group
end

local function members_key(prefix, group, queue)
    return prefix .. 'm:' .. group .. ' ' .. queue
end

local function groups_key(prefix, queue)
    return prefix .. 's:' .. queue
end

-- Packed, because reading numbers that are text costs a send more than writing to the queue does.
local function row(deadline, capacity, added)
    return struct.pack('>I8I8I8', deadline, capacity, added)
end

-- A row's deadline, capacity, and when a member was added last; nil of what is no row.
local function read_row(bytes)
    if bytes and #bytes == 24 then
        return struct.unpack('>I8I8I8', bytes)
    end
end

-- Whether the members of a queue count: those of an inbox do while its owner lives. Says also whether the owner is
-- still known.
local function is_alive(prefix, queue, now)
    if not is_inbox(queue) then
        return true, true
    end
    local lease = redis.pcall('HGET', prefix .. 'i:' .. queue, 'lease')
    return (tonumber(type(lease) == 'string' and lease or nil) or 0) > now, type(lease) == 'string'
end

-- Takes a queue out of a group, though some of the keys may be of another's making.
local function remove_queue(prefix, group, queue)
    redis.pcall('ZREM', index_key(prefix, group), queue)
    redis.pcall('HDEL', rows_key(prefix, group), queue)
    redis.pcall('ZREM', groups_key(prefix, queue), group)
    redis.call('UNLINK', members_key(prefix, group, queue))
end

-- Lets a key live as long as its latest part. Here as elsewhere a number that came as text is passed on as text, for to
-- make it text again costs as much as the call.
local function keep_key(key, left)
    if redis.call('PEXPIRE', key, left, 'NX') == 0 then
        redis.call('PEXPIRE', key, left, 'GT')
    end
end
-- @include "lib/page"
-- The next names, in order, of a set whose scores are all 0, and the cursor of the page after them, which is empty
-- after the last. Who is in the set all the while is met once.
local function page_of(key, cursor, most)
    local names = redis.call('ZRANGE', key, cursor == '' and '-' or '(' .. cursor, '+', 'BYLEX', 'LIMIT', '0', most + 1)
    -- One more than asked for tells whether there is another page.
    if #names <= most then
        return names, ''
    end
    names[most + 1] = nil
    return names, names[most]
end
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

-- An owner that the server does not know may be about to come back, after a loss of data: for so many ms the members
-- that were added meanwhile are kept.
local RETURNS_WITHIN = 60000

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local queues, next_cursor = page_of(index, cursor, 1000)
if #queues == 0 then
    return {'ok', '', 0, 0, 0, 0}
end

local microseconds, now = clock()
local entry = entry_time(microseconds) .. entry_place(1) .. entry_time(now + expiry) .. body
local delivered, expired, failed = 0, 0, 0
local full = {}
for number, text in ipairs(redis.call('HMGET', rows_key(prefix, group), unpack(queues))) do
    local queue = queues[number]
    local deadline, capacity, added = read_row(text or nil)
    if not deadline or deadline <= now then
        expired = expired + 1
        remove_queue(prefix, group, queue)
    else
        local alive, known = is_alive(prefix, queue, now)
        if alive then
            local key = prefix .. 'q:' .. queue
            local length = redis.pcall('RPUSHX', key, entry)
            local refused, why = 0, nil
            if type(length) == 'number' and length > 0 and length <= capacity then
                redis.call('PEXPIRE', key, expiry, 'GT')
            else
                refused, why = append(prefix, key, capacity, {entry}, length, expiry, now)
            end
            if refused == 0 then
                delivered = delivered + 1
            elseif type(why) == 'number' then
                full[#full + 1] = queue
            else
                failed = failed + 1
            end
        else
            expired = expired + 1
            if not known and added + RETURNS_WITHIN < now then
                remove_queue(prefix, group, queue)
            end
        end
    end
end
if names == '' then
    return {'ok', next_cursor, delivered, #full, expired, failed}
end
return {'ok', next_cursor, delivered, #full, expired, failed, unpack(full)}
