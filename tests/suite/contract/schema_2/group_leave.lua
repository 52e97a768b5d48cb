#!lua flags=allow-oom
-- Takes a channel out of all its groups, in steps of at most 500 groups of its queue.
-- reply: {"ok", cursor, removed}   the next step's cursor, empty after the last one; how many groups it left in this one
-- reply: {"stale"}   nothing was done: the client says this on a connection that it has since replaced
local groups     = KEYS[1] -- [zset]  <prefix>s:<queue>
local prefix     = ARGV[1] -- [text]  of every key
local queue      = ARGV[2] -- [text]  the channel's queue
local address    = ARGV[3] -- [text]  its address inside the inbox, or empty
local client     = ARGV[4] -- [text]  the client that says this; else empty
local generation = ARGV[5] -- [int]   of the client's connection; else empty
local cursor     = ARGV[6] -- [text]  empty at first, then what the step before said
-- @include "lib/clock"
-- The server's clock, in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/fence"
-- Whether a call comes over a connection that its client has since replaced. Who names no client is never late.
local function is_stale(prefix, client, generation)
    return client ~= '' and redis.call('HGET', prefix .. 'c:' .. client, 'g') ~= generation
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
-- @include "lib/remove_member"
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
-- @include "lib/tell_owner"
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

-- The most control entries that wait in an inbox; and how long, in milliseconds, the one that stands for further ones
-- is kept at least.
local MOST_CONTROLS = 1000
local DAY = 86400000

-- Tells the owner of an inbox, if there is one, that its members of a group changed. `header` is that of the entry, and
-- `left` how long it matters.
local function tell_owner(prefix, inbox, header, control, left, now)
    local owner = redis.pcall('HMGET', prefix .. 'i:' .. inbox, 'owner', 'controls')
    if not owner[1] then
        return
    end
    local queue = prefix .. 'q:' .. inbox
    local waiting = tonumber(owner[2] or 0)
    if waiting >= MOST_CONTROLS and redis.call('EXISTS', queue) == 0 then
        -- Those that were counted are gone.
        waiting = 0
    end
    if waiting > MOST_CONTROLS then
        return
    elseif waiting == MOST_CONTROLS then
        control = 'r'
        header = string.sub(header, 1, 10) .. entry_time(FAR_FUTURE)
        left = math.max(left, DAY)
    end
    local entry = header .. control
    local length = redis.pcall('RPUSH', queue, entry)
    if type(length) == 'number' then
        redis.call('HSET', prefix .. 'i:' .. inbox, 'controls', length == 1 and 1 or waiting + 1)
    end
    if length == 1 then
        redis.call('PEXPIRE', queue, left)
        hand_over(prefix, inbox, entry, now)
    elseif type(length) == 'number' then
        redis.call('PEXPIRE', queue, left, 'GT')
    end
end

-- Takes a member out of a group; says whether it was in. `quietly`: the owner of its inbox knows already.
local function remove_member(prefix, group, queue, address, quietly, microseconds, place, now)
    local key = members_key(prefix, group, queue)
    local deadline = tonumber(redis.call('ZSCORE', key, address) or nil)
    if deadline then
        redis.call('ZREM', key, address)
    end
    if redis.call('EXISTS', key) == 0 then
        remove_queue(prefix, group, queue)
    end
    if not deadline or deadline <= now then
        return false
    end
    if is_inbox(queue) and not quietly then
        local header = entry_time(microseconds) .. entry_place(place) .. entry_time(deadline)
        tell_owner(prefix, queue, header, '-' .. group .. ' ' .. address, deadline - now, now)
    end
    return true
end

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local microseconds, now = clock()
local page, next_cursor = page_of(groups, cursor, 500)
local removed = 0
for place, group in ipairs(page) do
    if remove_member(prefix, group, queue, address, false, microseconds, place, now) then
        removed = removed + 1
    end
end
return {'ok', next_cursor, removed}
