#!lua
-- Sends a message to a group, in steps of at most 1,000 queues or 2 MiB: one entry to each queue that has members, however many
-- members it has. Skips full queues.
-- reply: {"ok", cursor, delivered, full, expired, failed, queue, ...}   the next step's cursor, empty after the last
--   one; to how many queues of this step it went, how many were full, how many had no member any more, and how many
--   keys were not ours; then the names of the full ones, if they were asked for
-- reply: {"stale"}   nothing was sent: the call came over a connection that the client has since replaced
local group_key  = KEYS[1] -- [zset]                         <prefix>g:<group>
local prefix     = ARGV[1] -- [prefix]                       of every key
local group      = ARGV[2] -- [name]                         the group's name
local expiry     = ARGV[3] -- [int 1..315360000000 ms]       ms that the message may wait
local client     = ARGV[4] -- [name or empty]                the client that calls; else empty
local generation = ARGV[5] -- [int 0..999999999999 or empty] of the client's connection; else empty
local cursor     = ARGV[6] -- [text]                         empty at first, then what the step before returned
local names      = ARGV[7] -- [word names or empty]          "names" to be told which queues were full; else empty
local body       = ARGV[8] -- [bytes]                        g, the group, a space, and the payload
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 1 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 1'
elseif #ARGV ~= 8 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 8'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif not find(group, '^[^%s:]+$') then
    at, given, due = 'ARGV[2] group', group, 'a name without space and colon'
elseif expiry ~= '1' and (#expiry > 12 or not find(expiry, '^[1-9]%d*$') or #expiry == 12 and expiry + 0 > 315360000000) then
    at, given, due = 'ARGV[3] expiry', expiry, 'a whole number of ms from 1 to 315360000000'
elseif client ~= '' and (not find(client, '^[^%s:]+$')) then
    at, given, due = 'ARGV[4] client', client, 'a name without space and colon, or empty'
elseif generation ~= '' and (generation ~= '0' and generation ~= '1' and (#generation > 12 or not find(generation, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[5] generation', generation, 'a whole number from 0 to 999999999999, or empty'
elseif names ~= '' and (names ~= 'names') then
    at, given, due = 'ARGV[7] names', names, '"names", or empty'
elseif group_key ~= prefix .. 'g:' .. group then
    at, given, due = 'KEYS[1] group_key', group_key, 'the key <prefix>g:<group>, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR group_send: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
if string.sub(body, 1, #group + 2) ~= 'g' .. group .. ' ' then
-- @include "lib/refuse"
-- Returns the error for an argument that is not what is due, without what would break its line.
local function refuse(script, place, given, due)
    given = string.gsub(given or 'nothing', '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR ' .. script .. ': ' .. place .. ': "' .. given .. '" is not ' .. due)
end
    return refuse('group_send', 'ARGV[8] body', body, 'the letter g, the group, a space, and the payload')
end
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/entry"
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
-- @include "lib/fence"
-- Returns whether a call came over a connection that its client has since replaced. A call without a client is never
-- stale.
local function is_stale(prefix, client, generation)
    -- What another program put in the place of the client's record is an error, and none of its generations.
    return client ~= '' and redis.pcall('HGET', prefix .. 'c:' .. client, 'g') ~= generation
end
-- @include "lib/groups"
-- @include "lib/inbox"
-- @include "lib/layout"

local function is_inbox(queue)
    return string.byte(queue, -1) == EXCLAMATION_MARK
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

-- The labels of these members, by address: see lib/labels.
local function labels_key(prefix, group, queue)
    return prefix .. 'l:' .. group .. ' ' .. queue
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

-- Whether the members of a queue count: those of an inbox do while its owner lives. Returns also whether the owner is
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
    redis.call('UNLINK', members_key(prefix, group, queue), labels_key(prefix, group, queue))
end

-- Lets a key live as long as its latest part. Here as elsewhere a number that came as text is passed on as text, for to
-- make it text again costs as much as the call.
local function keep_key(key, left)
    if redis.call('PEXPIRE', key, left, 'NX') == 0 then
        redis.call('PEXPIRE', key, left, 'GT')
    end
end
-- @include "lib/page"
-- Returns the next names, in order, of a sorted set whose scores are all 0, and the cursor of the page after them, which
-- is empty after the last page. A name that is in the set during all pages is returned once.
local function page_of(key, cursor, max_names)
    local start = cursor == '' and '-' or '(' .. cursor
    -- One name more than asked for tells whether there is another page.
    local names = redis.call('ZRANGE', key, start, '+', 'BYLEX', 'LIMIT', '0', max_names + 1)
    if #names <= max_names then
        return names, ''
    end
    names[max_names + 1] = nil
    return names, names[max_names]
end
-- @include "lib/append"
-- @include "lib/hand_over"
-- @include "lib/entry"
-- @include "lib/inbox"
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
-- @include "lib/inbox_bytes"
-- @include "lib/layout"

-- Of an inbox not only the messages are bounded, but also the bytes.
-- The least that an owner may set, and what an inbox may have whose owner has set nothing.
local LEAST_BYTES, DEFAULT_BYTES = 1048576, 67108864

-- Returns for how many of the last entries of an inbox its bytes have no room. They are the first `count` of a
-- batch that was just added. One entry has room in an inbox that holds no other.
local function beyond_bytes(prefix, inbox, queue_key, length, batch, count)
    local largest = 0
    for place = 1, count do
        largest = math.max(largest, #batch[place])
    end
    if largest <= SMALL_ENTRY then
        return 0
    end
    -- For users without this right, and on servers without the command, the messages alone are bounded.
    if not redis.acl_check_cmd('MEMORY', 'USAGE', queue_key) then
        return 0
    end
    -- A count of all, not of a sample: it walks the list's nodes, of some kilobytes each.
    local bytes = redis.pcall('MEMORY', 'USAGE', queue_key, 'SAMPLES', '0')
    if type(bytes) ~= 'number' or bytes <= LEAST_BYTES then
        return 0
    end
    local set = redis.pcall('HGET', prefix .. 'i:' .. inbox, 'bytes')
    local room = tonumber(type(set) == 'string' and set or nil) or DEFAULT_BYTES
    local refused = 0
    while bytes > room and refused < count and refused < length - 1 do
        bytes = bytes - #batch[count - refused]
        refused = refused + 1
    end
    return refused
end
-- @include "lib/key"
-- A key is the prefix, one letter for its kind, a colon, and a name: <prefix>q:<queue>.
local function kind_of(key, prefix)
    return string.sub(key, #prefix + 1, #prefix + 1)
end

local function name_of(key, prefix)
    return string.sub(key, #prefix + 3)
end
-- @include "lib/make_room"
-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/inbox"
-- @include "lib/key"

-- How much of a queue is searched at once: a script may not run for long.
local MAX_SWEEP_ENTRIES = 1000
local MAX_SWEEP_BYTES = 1048576
local SWEEP_STEP = 16
-- Milliseconds after which at the latest the queue is searched again.
local MAX_SWEEP_PAUSE = 1000

-- Returns the command to which the user who calls has no right, of those that make room or take back what has none.
local function refused_to_make_room(queue_key, swept_key)
    return not redis.acl_check_cmd('RPOP', queue_key) and 'rpop'
        or not redis.acl_check_cmd('LINDEX', queue_key, '0') and 'lindex'
        or not redis.acl_check_cmd('LPOP', queue_key) and 'lpop'
        or not redis.acl_check_cmd('SET', swept_key, '') and 'set'
        or not redis.acl_check_cmd('LRANGE', queue_key, '0', '0') and 'lrange'
        or not redis.acl_check_cmd('LREM', queue_key, '1', 'v') and 'lrem'
        or not redis.acl_check_cmd('PEXPIRE', queue_key, '1') and 'pexpire'
end

-- Returns the expired entries that stand behind live ones, as they do where senders' expiries differ. Searches again
-- only when the next of the entries that it saw has expired, or when a second has passed, so a full queue costs little.
local function expired_behind(prefix, queue_key, length, now)
    local queue = name_of(queue_key, prefix)
    local swept_key = prefix .. 'x:' .. queue
    local expired, pause = {}, MAX_SWEEP_PAUSE
    local inbox = is_inbox(queue)
    if not redis.call('SET', swept_key, '', 'NX', 'PX', MAX_SWEEP_PAUSE) then
        return expired
    end
    local seen, bytes = 0, 0
    while seen < length and seen < MAX_SWEEP_ENTRIES and bytes < MAX_SWEEP_BYTES do
        for _, entry in ipairs(redis.call('LRANGE', queue_key, seen, seen + SWEEP_STEP - 1)) do
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
    redis.call('PEXPIRE', swept_key, pause)
    return expired
end

-- Makes room in a queue by removing expired messages. Returns how many entries stay.
local function make_room(prefix, queue_key, length, capacity, now)
    local dropped = 0
    while length > capacity and dropped < MAX_SWEEP_ENTRIES do
        local head = redis.call('LINDEX', queue_key, 0)
        if not head then
            return 0
        elseif entry_deadline(head) > now or is_inbox(queue_key) and is_control(head) then
            break
        end
        redis.call('LPOP', queue_key)
        length, dropped = length - 1, dropped + 1
    end
    if length > capacity then
        for _, entry in ipairs(expired_behind(prefix, queue_key, length, now)) do
            redis.call('LREM', queue_key, 1, entry)
            length = length - 1
        end
    end
    return length
end
-- @include "lib/no_right"

-- Adds entries to a queue after RPUSHX. `pushed` is what RPUSHX returned: 0 if the queue was empty and the entries are
-- still to be added, else the queue's length with them, or an error, which names in `command` what else gave it. Hands the
-- first entries to tickets that wait, and takes back the last ones for which there is no room. Returns how many of the last
-- were refused, and how many live messages wait, or -2 if their inbox has too many bytes, or the error.
local function append(prefix, queue_key, capacity, batch, pushed, expiry, now)
    if type(pushed) == 'table' then
        return #batch, refusal_of(pushed.command or 'RPUSHX', pushed.err, queue_key)
    end
    local queue = name_of(queue_key, prefix)
    local inbox = is_inbox(queue)
    local existed, length = pushed > 0, pushed
    local handed = 0
    if not existed then
        while not inbox and handed < #batch do
            local done, why = hand_over(prefix, queue, batch[handed + 1], now)
            if why then
                return #batch - handed, why
            elseif not done then
                break
            end
            handed = handed + 1
        end
        if handed == #batch then
            return 0
        end
        length = redis.pcall('RPUSH', queue_key, unpack(batch, handed + 1))
        if type(length) == 'table' then
            return #batch - handed, refusal_of('RPUSH', length.err, queue_key)
        end
        if inbox then
            -- The inbox was empty, so the control entries that were counted are gone.
            redis.pcall('HDEL', prefix .. 'i:' .. queue, 'controls', 'control_bytes')
        end
    end

    local refused, controls = 0, 0
    if length > capacity then
        local denied = refused_to_make_room(queue_key, prefix .. 'x:' .. queue)
        if denied then
            if denied == 'rpop' then
                redis.call('LTRIM', queue_key, '0', handed - #batch - 1)
            else
                redis.call('RPOP', queue_key, #batch - handed)
            end
            return #batch - handed, no_right(denied)
        end
        controls = inbox and waiting_controls(prefix, queue) or 0
        length = make_room(prefix, queue_key, length, capacity + controls, now)
        refused = math.max(0, math.min(length - controls - capacity, #batch - handed))
        if refused > 0 then
            redis.call('RPOP', queue_key, refused)
        end
    end
    local is_heavy = false
    if inbox and existed and refused < #batch then
        local beyond = beyond_bytes(prefix, queue, queue_key, length - refused, batch, #batch - refused)
        if beyond > 0 then
            redis.call('RPOP', queue_key, beyond)
            is_heavy, refused = true, refused + beyond
        end
    end
    if refused < #batch - handed then
        local kept = existed and redis.pcall('PEXPIRE', queue_key, expiry, 'GT') or not existed and redis.pcall('PEXPIRE', queue_key, expiry)
        if type(kept) == 'table' then
            redis.call('RPOP', queue_key, #batch - handed - refused)
            return #batch - handed, refusal_of('PEXPIRE', kept.err)
        end
    end
    if inbox and not existed and refused < #batch then
        local _, why = hand_over(prefix, queue, batch[1], now)
        if why then
            -- Its reader cannot be told. It was empty, and is so again: else nobody would be told of what comes later.
            redis.call('UNLINK', queue_key)
            return #batch, why
        end
    end
    return refused, is_heavy and -2 or length - refused - controls
end
-- @include "lib/rights"
-- @include "lib/no_right"

-- Each command of the scripts as they call it, but those that only a flush and a survey need, and MEMORY USAGE, which is asked
-- only of users who may. What ends in a colon is the
-- beginning of a key.
local COMMANDS = {
    'EXISTS m:', 'GET c:', 'HDEL c: f', 'HEXISTS i: f', 'HGET c: f', 'HMGET c: f', 'HSCAN c: 0', 'HSET c: f v',
    'LINDEX q: 0', 'LLEN q:', 'LMPOP 1 q: LEFT', 'LPOP q:', 'LRANGE q: 0 0', 'LREM q: 1 v', 'LTRIM q: 0 0', 'PEXPIRE q: 1',
    'PUBLISH wake: v', 'RPOP q:', 'RPUSH q: v', 'RPUSHX q: v', 'SADD f: m', 'SCARD f:', 'SET x: v', 'SMISMEMBER f: m',
    'SRANDMEMBER f:', 'SREM f: m', 'TIME', 'UNLINK q:', 'ZADD w: 0 m', 'ZCARD m:', 'ZCOUNT m: 0 1',
    'ZMPOP 1 b: MIN', 'ZPOPMIN w:', 'ZRANDMEMBER s:', 'ZRANGE s: - + BYLEX', 'ZRANK m: m', 'ZREM w: m', 'ZSCAN m: 0', 'ZSCORE m: m',
}

-- Returns the first of some commands to which the user of the call has no right; nil if there are rights to all. A command that
-- is refused in the middle of a script would leave half of its work done, so a script that has no client, whose hello has
-- looked at them, looks at the beginning.
local function denied_command(prefix, commands)
    for _, command in ipairs(commands) do
        local words = {}
        for word in string.gmatch(command, '%S+') do
            words[#words + 1] = string.find(word, ':', 1, true) and prefix .. word or word
        end
        if not redis.acl_check_cmd(unpack(words)) then
            return words[1]
        end
    end
end

local denied = client == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

-- Of a step, so that it blocks the server for some ms; the least is one queue, whatever the message weighs.
local MAX_QUEUES, MAX_BYTES = 1000, 2097152
local queues_a_step = math.max(1, math.min(MAX_QUEUES, math.floor(MAX_BYTES / #body)))
-- After a loss of data the server does not know the owner of an inbox until the owner renews it. Members that were added
-- within so many ms are kept, for the owner may return.
local RETURNS_WITHIN = 60000

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local queues, next_cursor = page_of(group_key, cursor, queues_a_step)
if #queues == 0 then
    return {'ok', '', 0, 0, 0, 0}
end

local microseconds, now = clock()
local entry = entry_time(microseconds) .. entry_place(1) .. entry_time(now + expiry) .. body
local delivered, expired, failed = 0, 0, 0
local full = {}
for number, bytes in ipairs(redis.call('HMGET', rows_key(prefix, group), unpack(queues))) do
    local queue = queues[number]
    local deadline, capacity, added = read_row(bytes or nil)
    if not deadline or deadline <= now then
        expired = expired + 1
        remove_queue(prefix, group, queue)
    else
        local alive, known = is_alive(prefix, queue, now)
        if alive then
            local queue_key = prefix .. 'q:' .. queue
            local pushed = redis.pcall('RPUSHX', queue_key, entry)
            local refused, why = 0, nil
            if type(pushed) == 'number' and pushed > 0 and pushed <= capacity and (#entry <= SMALL_ENTRY or not is_inbox(queue)) then
                redis.call('PEXPIRE', queue_key, expiry, 'GT')
            else
                refused, why = append(prefix, queue_key, capacity, {entry}, pushed, expiry, now)
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
            if known then
                local owner = redis.pcall('HGET', prefix .. 'i:' .. queue, 'owner')
                if type(owner) == 'string' then
                    wake_again(prefix, owner)
                end
            end
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
