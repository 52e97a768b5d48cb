#!lua flags=allow-oom
-- Takes a channel out of all its groups, in steps of at most 200 groups of its queue. Each step is a change, as those of
-- group_change are.
-- reply: {"ok", cursor, removed, now, n}   the next step's cursor, empty after the last one; how many groups it left in this
--   one; the server's time in µs; the number of this change of the inbox, of other queues 0
-- reply: {"stale"}   nothing was done: the call came over a connection that the client has since replaced
local memberships_key = KEYS[1] -- [zset]                            <prefix>s:<queue>
local inbox_key       = KEYS[2] -- [hash]                            <prefix>i:<queue>
local queue_key       = KEYS[3] -- [list]                            <prefix>q:<queue>
local prefix          = ARGV[1] -- [prefix]                          of every key
local queue           = ARGV[2] -- [name]                            the channel's queue
local address         = ARGV[3] -- [name or empty]                   its address inside the inbox, or empty
local client          = ARGV[4] -- [name or empty]                   the client that calls; else empty
local generation      = ARGV[5] -- [int 0..999999999999 or empty]    of the client's connection; else empty
local call            = ARGV[6] -- [int 0..999999999999999 or empty] higher with each change, page and sign of life of this client; else empty
local cursor          = ARGV[7] -- [text]                            empty at first, then what the step before returned
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 3 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 3'
elseif #ARGV ~= 7 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 7'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif not find(queue, '^[^%s:]+$') then
    at, given, due = 'ARGV[2] queue', queue, 'a name without space and colon'
elseif address ~= '' and (not find(address, '^[^%s:]+$')) then
    at, given, due = 'ARGV[3] address', address, 'a name without space and colon, or empty'
elseif client ~= '' and (not find(client, '^[^%s:]+$')) then
    at, given, due = 'ARGV[4] client', client, 'a name without space and colon, or empty'
elseif generation ~= '' and (generation ~= '0' and generation ~= '1' and (#generation > 12 or not find(generation, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[5] generation', generation, 'a whole number from 0 to 999999999999, or empty'
elseif call ~= '' and (call ~= '0' and call ~= '1' and (#call > 15 or not find(call, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[6] call', call, 'a whole number from 0 to 999999999999999, or empty'
elseif memberships_key ~= prefix .. 's:' .. queue then
    at, given, due = 'KEYS[1] memberships_key', memberships_key, 'the key <prefix>s:<queue>, under the prefix of the call'
elseif inbox_key ~= prefix .. 'i:' .. queue then
    at, given, due = 'KEYS[2] inbox_key', inbox_key, 'the key <prefix>i:<queue>, under the prefix of the call'
elseif queue_key ~= prefix .. 'q:' .. queue then
    at, given, due = 'KEYS[3] queue_key', queue_key, 'the key <prefix>q:<queue>, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR group_leave: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
-- @include "lib/change"
-- @include "lib/labels"
-- @include "lib/groups"
-- @include "lib/inbox"
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

-- A member may have a label, such as the id of a user, which is a field of a hash beside the members: `<end> <label>`. It counts
-- while its membership has that end. So a join without a label needs no call to take one away, and whoever changes ends and
-- knows no labels leaves none behind that is wrong.

-- So many bytes a label may have, as the server sees it: hidden ones are longer than they were.
local MAX_LABEL = 512
-- So many arguments a call may have; Lua takes some thousands.
local AT_ONCE = 1000

-- Returns the label in a field of the hash, if it belongs to a membership that ends then.
local function label_of(field, deadline)
    local given_for, label = string.match(field or '', '^(%d+) (%S+)$')
    if given_for == deadline then
        return label
    end
end

-- Returns the labels of some addresses of a queue, false where there is none, by their place among them. `ends` are the ends of
-- their memberships, as text.
local function labels_of(prefix, group, queue, addresses, ends)
    local labels = {}
    for first = 1, #addresses, AT_ONCE do
        local last = math.min(first + AT_ONCE - 1, #addresses)
        local fields = redis.pcall('HMGET', labels_key(prefix, group, queue), unpack(addresses, first, last))
        for number = first, last do
            -- Where another program has the key there is no label.
            labels[number] = label_of(fields[number - first + 1], ends[number]) or false
        end
    end
    return labels
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
-- @include "lib/write_control"
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
-- @include "lib/lease"
-- @include "lib/no_right"

-- What is known of an inbox, as HMGET returns it: see `inbox_state`.
local OWNER, LEASE, N, BY, WAITING, BYTES, IS_QUIET, READS_LABELS, HAS_LABELS = 1, 2, 3, 4, 5, 6, 7, 8, 9

-- Returns the fields of an inbox, or nil and an error if its key is another program's.
local function inbox_state(inbox_key)
    local state = redis.pcall('HMGET', inbox_key, 'owner', 'lease', 'n', 'by', 'controls', 'control_bytes', 'quiet',
        'reads_labels', 'has_labels')
    if state.err then
        return nil, said_of(state.err, inbox_key)
    end
    return state
end

-- Puts a control entry into an inbox, which keeps its list alive as long as the inbox. `fields` are further fields of the
-- inbox that change with it; whoever makes the inbox so keeps it for an hour. Returns an error if the key is another
-- program's, or if the entry could not be handed to its reader, who waits: the inbox is empty then, as it was.
local function write_control(prefix, inbox, state, body, microseconds, now, fields)
    local inbox_key, queue_key = prefix .. 'i:' .. inbox, prefix .. 'q:' .. inbox
    local entry = entry_time(microseconds) .. entry_place(1) .. entry_time(FAR_FUTURE) .. body
    local length = redis.pcall('RPUSH', queue_key, entry)
    if type(length) == 'table' then
        return said_of(length.err, queue_key)
    end
    local waiting, bytes = 1, #entry
    if length > 1 then
        waiting = (tonumber(state[WAITING] or nil) or 0) + 1
        bytes = (tonumber(state[BYTES] or nil) or 0) + #entry
    end
    redis.call('HSET', inbox_key, 'controls', waiting, 'control_bytes', bytes, unpack(fields))
    local left = math.max(0, (tonumber(state[LEASE] or nil) or 0) - now) + MEMORY
    if not state[OWNER] then
        redis.call('PEXPIRE', inbox_key, left)
    end
    if length > 1 then
        redis.call('PEXPIRE', queue_key, left, 'GT')
        return nil
    end
    redis.call('PEXPIRE', queue_key, left)
    local _, why = hand_over(prefix, inbox, entry, now)
    if why then
        redis.call('UNLINK', queue_key)
    end
    return why
end

-- A change of the memberships of one queue: it joins, leaves and repairs members, and, of an inbox, numbers what it did and
-- tells it there in one entry. Its owner knows its groups by these entries alone.
--
-- `change` has: prefix, queue, capacity (of the queue), microseconds, now, and, of an inbox, state; it gathers parts (of the
-- entry) and left, how many were in that left.

-- So many memberships that have ended are removed with one that begins.
local PRUNED = '16'
-- Where a queue and a group meet for the first time, one addition in so many looks at twice as many others, chosen at
-- random. So no more than half of what is there has ended, and most additions pay nothing for it.
local EVERY, LOOKED_AT = 8, '-16'
-- A row of an inbox lasts a sixteenth longer than asked, unless that is short, so that the next joins find it right.
local SLACK, SHORT = 16, 60000
-- A row that is older, in ms, is written anew while the owner of its inbox is not known: see RETURNS_WITHIN of group_send.
local FRESH = 30000
-- The most control entries, and bytes of them, that wait in an inbox: then further changes of others are not told.
local MAX_CONTROLS, MAX_CONTROL_BYTES = 10000, 16777216

-- Begins a change. Returns it, or nil and an error if a key of the inbox is another program's.
local function begin_change(prefix, queue, capacity, microseconds, now)
    local change = {
        prefix = prefix, queue = queue, capacity = capacity, microseconds = microseconds, now = now, parts = {}, left = 0,
    }
    if is_inbox(queue) then
        local length = redis.pcall('LLEN', prefix .. 'q:' .. queue)
        if type(length) == 'table' then
            return nil, said_of(length.err, prefix .. 'q:' .. queue)
        end
        local state, why = inbox_state(prefix .. 'i:' .. queue)
        if not state then
            return nil, why
        end
        if length == 0 then
            state[WAITING], state[BYTES] = '0', '0'
        end
        change.state = state
    end
    return change
end

-- Removes groups in which the queue has no member any more.
local function forget_ended_groups(change)
    local names, keys = redis.call('ZRANDMEMBER', groups_key(change.prefix, change.queue), LOOKED_AT), {}
    for number, name in ipairs(names) do
        keys[number] = members_key(change.prefix, name, change.queue)
    end
    if #names == 0 or redis.call('EXISTS', unpack(keys)) == #names then
        return
    end
    for number, name in ipairs(names) do
        if redis.call('EXISTS', keys[number]) == 0 then
            remove_queue(change.prefix, name, change.queue)
        end
    end
end

-- Removes queues that have no member in a group any more.
local function forget_ended_queues(change, group)
    local queues = redis.call('ZRANDMEMBER', index_key(change.prefix, group), LOOKED_AT)
    local rows = #queues > 0 and redis.call('HMGET', rows_key(change.prefix, group), unpack(queues)) or {}
    for number, text in ipairs(rows) do
        local deadline = read_row(text or nil)
        if not deadline or deadline <= change.now then
            remove_queue(change.prefix, group, queues[number])
        end
    end
end

-- Reads the row of a group, unless it is that of the member before. Returns an error.
local function look_at_row(change, group)
    if change.group == group then
        return nil
    end
    local bytes = redis.pcall('HGET', rows_key(change.prefix, group), change.queue)
    if type(bytes) == 'table' then
        return said_of(bytes.err, rows_key(change.prefix, group))
    end
    local deadline, capacity, added = read_row(bytes or nil)
    if deadline and deadline > 2 * FAR_FUTURE then
        -- No script wrote this: what lasts so long could not be said to the server.
        deadline = nil
    end
    change.group = group
    change.row_deadline, change.row_capacity, change.row_added = deadline or 0, capacity, added or 0
end

-- Whether the keys of a group are right for a member that stays until `deadline`, and last long enough.
local function has_keys_for(change, deadline)
    local is_known = change.state and change.state[OWNER]
    return change.state and change.row_deadline >= deadline and change.row_capacity == change.capacity
        and (is_known or change.row_added + FRESH > change.now)
end

-- Puts the keys of a group right around a member that stays for `left` ms. Returns an error.
local function put_keys_right(change, group, deadline, left, place)
    local prefix, queue, now = change.prefix, change.queue, change.now
    if change.state and left > SHORT then
        left = left + math.floor(left / SLACK)
        deadline = now + left
    end
    -- A queue of one channel has no other member that may stay longer.
    if change.state then
        deadline = math.max(deadline, change.row_deadline)
        -- The row vouches for all keys of the group, of which some may be new.
        left = deadline - now
    end
    local memberships_key, queues_key, rows = groups_key(prefix, queue), index_key(prefix, group), rows_key(prefix, group)
    -- Each is given its end at once, should the next be of another's making; the index comes last.
    local is_new_group = redis.pcall('ZADD', memberships_key, '0', group)
    if type(is_new_group) == 'table' then
        return said_of(is_new_group.err, memberships_key)
    end
    keep_key(memberships_key, left)
    redis.call('HSET', rows, queue, row(deadline, change.capacity, now))
    keep_key(rows, left)
    local is_new_queue = redis.pcall('ZADD', queues_key, '0', queue)
    if type(is_new_queue) == 'table' then
        return said_of(is_new_queue.err, queues_key)
    end
    keep_key(queues_key, left)
    keep_key(members_key(prefix, group, queue), left)
    change.row_deadline, change.row_capacity, change.row_added = deadline, change.capacity, now
    if (change.microseconds + place) % EVERY == 0 then
        if is_new_group == 1 then
            forget_ended_groups(change)
        end
        if is_new_queue == 1 then
            forget_ended_queues(change, group)
        end
    end
end

-- Removes members whose membership has ended.
local function prune_members(change, group, key)
    local ended = redis.call('ZRANGE', key, '-inf', change.now, 'BYSCORE', 'LIMIT', '0', PRUNED)
    if #ended > 0 then
        redis.call('ZREM', key, unpack(ended))
        redis.pcall('HDEL', labels_key(change.prefix, group, change.queue), unpack(ended))
    end
end

-- Gives a member a label, for the membership that ends at `deadline`. Returns an error.
local function put_label(change, group, address, deadline, label)
    local key = labels_key(change.prefix, group, change.queue)
    local put = redis.pcall('HSET', key, address, string.format('%.0f', deadline) .. ' ' .. label)
    if type(put) == 'table' then
        return said_of(put.err, key)
    end
    keep_key(key, deadline - change.now)
    change.has_labels = true
end

-- Makes an address a member until `deadline`. `trusts_row`: the row is right, if it says so. Returns an error; then the
-- address is no member by this. Else returns nil, and whether the membership had another end, or none.
local function join(change, group, address, deadline, trusts_row, place)
    local why = look_at_row(change, group)
    if why then
        return why
    end
    local key, left = members_key(change.prefix, group, change.queue), deadline - change.now
    local has_keys = trusts_row and has_keys_for(change, deadline)
    local before = not has_keys and redis.pcall('ZSCORE', key, address)
    local joined = redis.pcall('ZADD', key, 'CH', deadline, address)
    if type(joined) == 'table' then
        return said_of(joined.err, key)
    end
    -- A key that had no end is new: the row outlived members that were lost.
    if not has_keys or redis.call('PEXPIRE', key, left, 'NX') == 1 then
        why = put_keys_right(change, group, deadline, left, place)
        if why then
            change.group = nil
            if before then
                redis.call('ZADD', key, before, address)
            else
                redis.call('ZREM', key, address)
            end
            if redis.call('EXISTS', key) == 0 then
                remove_queue(change.prefix, group, change.queue)
            end
            return why
        end
    end
    if not has_keys or (change.microseconds + place) % EVERY == 0 then
        prune_members(change, group, key)
    end
    return nil, joined == 1
end

-- Makes an address a member for `left` ms, with a label or without. Returns an error; then nothing was done.
local function join_as(change, group, address, left, label, place)
    local key = labels_key(change.prefix, group, change.queue)
    if label then
        -- Found before anything is done: the key may be another program's.
        local known = redis.pcall('HEXISTS', key, address)
        if type(known) == 'table' then
            return said_of(known.err, key)
        end
    end
    local deadline = change.now + left
    local why, is_new_end = join(change, group, address, deadline, true, place)
    if why then
        return why
    elseif label then
        return put_label(change, group, address, deadline, label)
    elseif not is_new_end then
        -- It joined in this very millisecond before, perhaps with a label, which would count on.
        redis.pcall('HDEL', key, address)
    end
end

-- Takes an address out of a group. Returns an error.
local function leave(change, group, address)
    local key = members_key(change.prefix, group, change.queue)
    local deadline = redis.pcall('ZSCORE', key, address)
    if type(deadline) == 'table' then
        return said_of(deadline.err, key)
    end
    if deadline then
        redis.call('ZREM', key, address)
        if tonumber(deadline) > change.now then
            change.left = change.left + 1
        end
    end
    -- One call tells which of two keys are there: the members' counts twice.
    local labels = labels_key(change.prefix, group, change.queue)
    local found = redis.call('EXISTS', key, key, labels)
    if found < 2 then
        change.group = nil
        remove_queue(change.prefix, group, change.queue)
    elseif found == 3 then
        redis.pcall('HDEL', labels, address)
    end
end

-- Numbers what was done, and tells it in the inbox. Returns an error and the number.
local function end_change(change, client, call)
    local state = change.state
    if not state then
        return nil, 0
    end
    local n = string.format('%.0f', (tonumber(state[N] or nil) or 0) + 1)
    local tag = client .. ':' .. call
    local fields = {'n', n, 'by', tag}
    if change.has_labels and not state[HAS_LABELS] then
        fields[5], fields[6] = 'has_labels', 1
    end
    local body = 'c' .. n .. ' ' .. tag
    if #change.parts > 0 then
        body = body .. ' ' .. table.concat(change.parts, ' ')
    end
    if client == '' or client ~= state[OWNER] then
        local is_much = tonumber(state[WAITING] or nil) or 0
        is_much = is_much >= MAX_CONTROLS or (tonumber(state[BYTES] or nil) or 0) >= MAX_CONTROL_BYTES
        if state[IS_QUIET] then
            redis.call('HSET', change.prefix .. 'i:' .. change.queue, unpack(fields))
            return nil, n
        elseif is_much then
            body = 'r'
            fields[#fields + 1], fields[#fields + 2] = 'quiet', 1
        end
    end
    return write_control(change.prefix, change.queue, state, body, change.microseconds, change.now, fields), n
end
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/fence"
-- Returns whether a call came over a connection that its client has since replaced. A call without a client is never
-- stale.
local function is_stale(prefix, client, generation)
    -- What another program put in the place of the client's record is an error, and none of its generations.
    return client ~= '' and redis.pcall('HGET', prefix .. 'c:' .. client, 'g') ~= generation
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
-- @include "lib/refuse"
-- Returns the error for an argument that is not what is due, without what would break its line.
local function refuse(script, place, given, due)
    given = string.gsub(given or 'nothing', '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR ' .. script .. ': ' .. place .. ': "' .. given .. '" is not ' .. due)
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

local MAX_GROUPS = 200

if is_inbox(queue) == (address == '') then
    return refuse('group_leave', 'ARGV[3] address', address, 'a name where the queue is an inbox, and else empty')
elseif client ~= '' and call == '' then
    return refuse('group_leave', 'ARGV[6] call', call, 'a whole number, as a client gives it')
end
if is_stale(prefix, client, generation) then
    return {'stale'}
end
local microseconds, now = clock()
local change, why = begin_change(prefix, queue, 0, microseconds, now)
if not change then
    return redis.error_reply(why)
end
local groups, next_cursor = page_of(memberships_key, cursor, MAX_GROUPS)
if cursor == '' then
    -- The owner may have groups that the server has lost.
    change.parts[1] = '*' .. address
end
for _, group in ipairs(groups) do
    local deadline = redis.pcall('ZSCORE', members_key(prefix, group, queue), address)
    if deadline and not deadline.err then
        why = leave(change, group, address)
        change.parts[#change.parts + 1] = '-' .. group .. ' ' .. address
    end
end
local n
why, n = end_change(change, client, call)
if why then
    return redis.error_reply(why)
end
return {'ok', next_cursor, change.left, microseconds, tonumber(n)}
