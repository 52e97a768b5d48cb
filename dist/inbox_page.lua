#!lua flags=allow-oom
-- Writes some of the memberships of an inbox into the inbox, at this point among the changes, for its owner to compare. The
-- entry is `w<n> <tag> <call>`, then `>` and where the page begins, `<` and where it ends, and of each group in between,
-- in order of their names, `:<group> <1 if its row and index are there, else 0>` and its members, `<address> <end>` each,
-- in order of end and address, and `=<label>` of one that has a label. A place is three parts: a group, an end and an address, behind which it is; empty at the
-- beginning and at the end of all.
-- reply: {"ok", now}   the server's time in µs
-- reply: {"taken"}   nothing was done: this client does not own the inbox, or no longer
local inbox_key       = KEYS[1] -- [hash]                            <prefix>i:<inbox>
local memberships_key = KEYS[2] -- [zset]                            <prefix>s:<inbox>
local queue_key       = KEYS[3] -- [list]                            <prefix>q:<inbox>
local prefix          = ARGV[1] -- [prefix]                          of every key
local inbox           = ARGV[2] -- [name]                            its name
local owner           = ARGV[3] -- [name]                            the client that reads it
local call            = ARGV[4] -- [int 0..999999999999999]          higher with each change, page and sign of life of this client
local from_group      = ARGV[5] -- [name or empty]                   where the page begins: a group; empty at the beginning
local from_end        = ARGV[6] -- [int 0..999999999999999 or empty] an end in that group, behind which it begins; empty: behind the whole group
local from_address    = ARGV[7] -- [name or empty]                   and an address with that end
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 3 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 3'
elseif #ARGV ~= 7 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 7'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif not find(inbox, '^[^%s:]+$') then
    at, given, due = 'ARGV[2] inbox', inbox, 'a name without space and colon'
elseif not find(owner, '^[^%s:]+$') then
    at, given, due = 'ARGV[3] owner', owner, 'a name without space and colon'
elseif call ~= '0' and call ~= '1' and (#call > 15 or not find(call, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[4] call', call, 'a whole number from 0 to 999999999999999'
elseif from_group ~= '' and (not find(from_group, '^[^%s:]+$')) then
    at, given, due = 'ARGV[5] from_group', from_group, 'a name without space and colon, or empty'
elseif from_end ~= '' and (from_end ~= '0' and from_end ~= '1' and (#from_end > 15 or not find(from_end, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[6] from_end', from_end, 'a whole number from 0 to 999999999999999, or empty'
elseif from_address ~= '' and (not find(from_address, '^[^%s:]+$')) then
    at, given, due = 'ARGV[7] from_address', from_address, 'a name without space and colon, or empty'
elseif inbox_key ~= prefix .. 'i:' .. inbox then
    at, given, due = 'KEYS[1] inbox_key', inbox_key, 'the key <prefix>i:<inbox>, under the prefix of the call'
elseif memberships_key ~= prefix .. 's:' .. inbox then
    at, given, due = 'KEYS[2] memberships_key', memberships_key, 'the key <prefix>s:<inbox>, under the prefix of the call'
elseif queue_key ~= prefix .. 'q:' .. inbox then
    at, given, due = 'KEYS[3] queue_key', queue_key, 'the key <prefix>q:<inbox>, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR inbox_page: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
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

local denied = denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

-- So many groups and members at most.
local ENOUGH = 500

if not is_inbox(inbox) then
    return refuse('inbox_page', 'ARGV[2] inbox', inbox, 'a name that ends in "!"')
elseif from_end ~= '' and from_group == '' then
    return refuse('inbox_page', 'ARGV[6] from_end', from_end, 'a place: an end is of a member of a group, and none is named')
end

local microseconds, now = clock()
local state, why = inbox_state(inbox_key)
if not state then
    return redis.error_reply(why)
elseif state[OWNER] ~= owner then
    return {'taken'}
end

local parts, listed = {}, 0

-- Lists the members of a group from a rank on. Returns the end and the address of the last one if more follow.
local function list_members(group, rank)
    local key = members_key(prefix, group, inbox)
    local room = ENOUGH - listed
    local found = redis.pcall('ZRANGE', key, rank, rank + room, 'WITHSCORES')
    if found.err then
        return nil
    end
    local last = math.min(#found / 2, room)
    local addresses, ends = {}, {}
    for member = 1, last do
        addresses[member], ends[member] = found[2 * member - 1], found[2 * member]
    end
    local labels = state[HAS_LABELS] and labels_of(prefix, group, inbox, addresses, ends) or {}
    for member = 1, last do
        parts[#parts + 1] = addresses[member] .. ' ' .. ends[member] .. (labels[member] and ' =' .. labels[member] or '')
    end
    listed = listed + last
    if #found / 2 > room then
        return found[2 * last], found[2 * last - 1]
    end
end

-- Where the members begin that come after an end and an address. If that one has left, those with the same end are listed
-- again. Returns their rank, and the address after which the page begins.
local function rank_after(group)
    local key = members_key(prefix, group, inbox)
    local score = redis.pcall('ZSCORE', key, from_address)
    if score == from_end then
        return redis.call('ZRANK', key, from_address) + 1, from_address
    end
    local before = redis.pcall('ZCOUNT', key, '-inf', '(' .. from_end)
    return type(before) == 'number' and before or 0, ''
end

local function list_group(group, rank)
    local is_whole = redis.pcall('HEXISTS', rows_key(prefix, group), inbox) == 1
        and type(redis.pcall('ZSCORE', index_key(prefix, group), inbox)) == 'string'
    parts[#parts + 1] = ':' .. group .. ' ' .. (is_whole and '1' or '0')
    listed = listed + 1
    return list_members(group, rank)
end

local from = '>' .. from_group .. ' ' .. from_end .. ' '
local group, last_end, last_address = from_group, nil, nil
if from_end ~= '' then
    local rank, address = rank_after(from_group)
    from = from .. address
    last_end, last_address = list_group(from_group, rank)
else
    from = from .. from_address
end
local is_last = false
if not last_end then
    local names, more = page_of(memberships_key, from_group, ENOUGH - listed > 0 and ENOUGH - listed or 1)
    is_last = more == ''
    for number, name in ipairs(names) do
        -- A group is begun with one member at least: one that is listed without any has none.
        if listed > ENOUGH - 2 then
            is_last = false
            break
        end
        group = name
        last_end, last_address = list_group(name, 0)
        if last_end then
            is_last = false
            break
        end
    end
end
local to = '<' .. (is_last and '' or group) .. ' ' .. (last_end or '') .. ' ' .. (last_address or '')
local n, tag = state[N] or '0', state[BY] or ':'
local body = 'w' .. n .. ' ' .. tag .. ' ' .. call .. ' ' .. from .. ' ' .. to
if #parts > 0 then
    body = body .. ' ' .. table.concat(parts, ' ')
end
why = write_control(prefix, inbox, state, body, microseconds, now, {})
if why then
    return redis.error_reply(why)
end
return {'ok', microseconds}
