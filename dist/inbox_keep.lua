#!lua flags=allow-oom
-- Begins or renews an inbox: its members of groups count until the lease ends. Reports which of its mailboxes take no
-- more messages, and which do again. If the server's last change of the inbox is another than the owner's, or the owner is
-- not sure, that stands in the inbox too, at this point among the changes.
-- reply: {"ok", now, groups, marks}   the server's time in µs; in how many groups the inbox has members, and how many of its
--   mailboxes count as full
-- reply: {"taken"}   nothing was done: another client owns the inbox
-- reply: {"stale"}   nothing was done: the server has forgotten the client, or the call came over a connection that the
--   client has since replaced
local inbox_key             = KEYS[1]     -- [hash]                            <prefix>i:<inbox>
local memberships_key       = KEYS[2]     -- [zset]                            <prefix>s:<inbox>
local marks_key             = KEYS[3]     -- [set]                             <prefix>f:<inbox>
local prefix                = ARGV[1]     -- [prefix]                          of every key
local inbox                 = ARGV[2]     -- [name]                            its name, which ends in "!"
local owner                 = ARGV[3]     -- [name]                            the client that reads it
local generation            = ARGV[4]     -- [int 0..999999999999 or empty]    of the client's connection; else empty
local lease                 = ARGV[5]     -- [int 0..3600000 ms]               ms, for which its members count without a further call
local bytes                 = ARGV[6]     -- [int 1048576..2147483648]         bytes that it may have before a message of over 4 KiB is refused
local call                  = ARGV[7]     -- [int 0..999999999999999]          higher with each change, page and sign of life of this client
local last_n                = ARGV[8]     -- [int 0..999999999999999 or empty] the number of the last change that the owner has read, 0 if none; empty if it is not sure
local last_tag              = ARGV[9]     -- [token]                           who made it, as it stands in the entry; a colon if none
local marks                 = ARGV[10]    -- [word some, all]                  "some": marks of full mailboxes from before stay; "all": they are forgotten
local full                  = ARGV[11]    -- [int 0..3490]                     how many of the addresses are of full mailboxes
local addresses, first_address = ARGV, 12 -- [0..3490 name or empty...]          addresses of mailboxes that are full; then of those that have room again
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 3 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 3'
elseif #addresses < 11 or #addresses > 3501 then
    at, given, due = 'ARGV', '' .. #addresses, 'a number of arguments from 11 to 3501; if there are more, make several calls'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif not find(inbox, '^[^%s:]+$') then
    at, given, due = 'ARGV[2] inbox', inbox, 'a name without space and colon'
elseif not find(owner, '^[^%s:]+$') then
    at, given, due = 'ARGV[3] owner', owner, 'a name without space and colon'
elseif generation ~= '' and (generation ~= '0' and generation ~= '1' and (#generation > 12 or not find(generation, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[4] generation', generation, 'a whole number from 0 to 999999999999, or empty'
elseif lease ~= '0' and lease ~= '1' and (#lease > 7 or not find(lease, '^[1-9]%d*$') or #lease == 7 and lease + 0 > 3600000) then
    at, given, due = 'ARGV[5] lease', lease, 'a whole number of ms from 0 to 3600000'
elseif #bytes > 10 or not find(bytes, '^[1-9]%d*$') or #bytes == 10 and bytes + 0 > 2147483648 or bytes + 0 < 1048576 then
    at, given, due = 'ARGV[6] bytes', bytes, 'a whole number from 1048576 to 2147483648'
elseif call ~= '0' and call ~= '1' and (#call > 15 or not find(call, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[7] call', call, 'a whole number from 0 to 999999999999999'
elseif last_n ~= '' and (last_n ~= '0' and last_n ~= '1' and (#last_n > 15 or not find(last_n, '^[1-9]%d*$'))) then
    at, given, due = 'ARGV[8] last_n', last_n, 'a whole number from 0 to 999999999999999, or empty'
elseif not find(last_tag, '^%S+$') then
    at, given, due = 'ARGV[9] last_tag', last_tag, 'a text without space'
elseif marks ~= 'some' and marks ~= 'all' then
    at, given, due = 'ARGV[10] marks', marks, '"some" or "all"'
elseif full ~= '0' and full ~= '1' and (#full > 4 or not find(full, '^[1-9]%d*$') or #full == 4 and full + 0 > 3490) then
    at, given, due = 'ARGV[11] full', full, 'a whole number from 0 to 3490'
elseif inbox_key ~= prefix .. 'i:' .. inbox then
    at, given, due = 'KEYS[1] inbox_key', inbox_key, 'the key <prefix>i:<inbox>, under the prefix of the call'
elseif memberships_key ~= prefix .. 's:' .. inbox then
    at, given, due = 'KEYS[2] memberships_key', memberships_key, 'the key <prefix>s:<inbox>, under the prefix of the call'
elseif marks_key ~= prefix .. 'f:' .. inbox then
    at, given, due = 'KEYS[3] marks_key', marks_key, 'the key <prefix>f:<inbox>, under the prefix of the call'
end
for slot = 12, due and 0 or #addresses do
    local value = addresses[slot]
    if value ~= '' and (not find(value, '^[^%s:]+$')) then
        at, given, due = 'ARGV[' .. slot .. '] addresses', value, 'a name without space and colon, or empty'
        break
    end
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR inbox_keep: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
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
-- @include "lib/hand_over"
-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/layout"

local function is_inbox(queue)
    return string.byte(queue, -1) == EXCLAMATION_MARK
end
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

local denied = generation == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

if not is_inbox(inbox) then
    return refuse('inbox_keep', 'ARGV[2] inbox', inbox, 'a name that ends in "!"')
elseif tonumber(full) > #addresses - first_address + 1 then
    return refuse('inbox_keep', 'ARGV[11] full', full, 'one of the addresses, which are ' .. #addresses - first_address + 1)
end
lease, full = tonumber(lease), tonumber(full)

if generation ~= '' and is_stale(prefix, owner, generation) then
    return {'stale'}
end
local microseconds, now = clock()
local state, why = inbox_state(inbox_key)
if not state then
    return redis.error_reply(why)
elseif state[OWNER] and state[OWNER] ~= owner then
    return {'taken'}
end
local known = state[OWNER]
state[OWNER], state[LEASE] = owner, string.format('%.0f', now + lease)
redis.call('HSET', inbox_key, 'owner', owner, 'lease', state[LEASE], 'bytes', bytes, 'reads_labels', 1)
redis.call('PEXPIRE', inbox_key, lease + MEMORY)

if not known or marks == 'all' then
    redis.call('UNLINK', marks_key)
end
local first_roomy = first_address + full
if full > 0 then
    redis.call('SADD', marks_key, unpack(addresses, first_address, first_roomy - 1))
end
if first_roomy <= #addresses then
    redis.call('SREM', marks_key, unpack(addresses, first_roomy))
end
redis.call('PEXPIRE', marks_key, lease + MEMORY)

local n, tag = state[N] or '0', state[BY] or ':'
if n ~= last_n or tag ~= last_tag then
    why = write_control(prefix, inbox, state, 'k' .. n .. ' ' .. tag .. ' ' .. call, microseconds, now, {})
    if why then
        return redis.error_reply(why)
    end
end
return {'ok', microseconds, redis.call('ZCARD', memberships_key), redis.call('SCARD', marks_key)}
