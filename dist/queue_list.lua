#!lua flags=allow-oom
-- Lists the queues in which something waits, or for which receives wait, and counts the groups, of one step of a scan. A queue
-- may be listed in parts.
-- reply: {cursor, groups, queue, entries, live, waiting, ...}   the next step's cursor, "0" after the last one; how many groups
--   this step found; then queues, each with how many entries this step found in it, how many of these are messages that have not
--   expired, and how many receives wait for it
local schema_key = KEYS[1] -- [string]                 <prefix>schema, which tells where to run
local prefix     = ARGV[1] -- [prefix]                 of every key
local cursor     = ARGV[2] -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = ARGV[3] -- [int 1..1000000]         about how many keys to look at
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 1 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 1'
elseif #ARGV ~= 3 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 3'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif cursor ~= '0' and cursor ~= '1' and (#cursor > 15 or not find(cursor, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[2] cursor', cursor, 'a whole number from 0 to 999999999999999'
elseif count ~= '1' and (#count > 7 or not find(count, '^[1-9]%d*$') or #count == 7 and count + 0 > 1000000) then
    at, given, due = 'ARGV[3] count', count, 'a whole number from 1 to 1000000'
elseif schema_key ~= prefix .. 'schema' then
    at, given, due = 'KEYS[1] schema_key', schema_key, 'the key <prefix>schema, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR queue_list: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
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
-- @include "lib/pattern"
-- Returns a prefix as part of a pattern that matches only the prefix itself.
local function pattern_of(prefix)
    return (string.gsub(prefix, '[%*%?%[%]%\\%^%-]', '\\%0'))
end

-- Returns whether the end of a key is a name. A key of a layer whose prefix is longer matches the pattern too, but what
-- follows the kind there has a colon in it, and no name has one.
local function is_name(name)
    return not string.find(name, ':', 1, true)
end

-- So many entries, of so many bytes, are looked at one by one in a step; and so many tickets.
local left_entries, left_bytes, left_tickets = 5000, 1048576, 1000
local READ_STEP = 16
local _, now = clock()

-- Returns from which place on the entries of a list are live, as far as they expire in their order.
local function first_live(list_key, from, length)
    local after = length
    while from < after do
        local middle = math.floor((from + after) / 2)
        local entry = redis.call('LINDEX', list_key, middle)
        if entry and entry_deadline(entry) <= now then
            from = middle + 1
        else
            after = middle
        end
    end
    return from
end

-- Returns how many entries of a list, or of a sorted set, are live messages. Of more than a step looks at, those behind are taken to
-- expire in their order, and control entries are as many as the inbox counts.
local function count_live(key, range_command, length, inbox)
    local live, seen, controls = 0, 0, 0
    while seen < length and left_entries > 0 and left_bytes > 0 do
        local entries = redis.call(range_command, key, seen, seen + READ_STEP - 1)
        for _, entry in ipairs(entries) do
            if inbox and is_control(entry) then
                controls = controls + 1
            elseif entry_deadline(entry) > now then
                live = live + 1
            end
            left_bytes = left_bytes - #entry
        end
        seen = seen + READ_STEP
        left_entries = left_entries - READ_STEP
    end
    if seen < length then
        live = live + length - (range_command == 'LRANGE' and first_live(key, seen, length) or seen)
        if inbox then
            live = math.max(0, live - math.max(0, waiting_controls(prefix, inbox) - controls))
        end
    end
    return live
end

-- Returns how many tickets of a line are of clients whose lease has not ended. Those behind the first ones all count.
local leases = {}
local function waiting_in(line_key, tickets)
    local waiting, seen = 0, 0
    if left_tickets > 0 then
        for _, waiter in ipairs(redis.call('ZRANGE', line_key, 0, left_tickets - 1)) do
            local client = string.match(waiter, '^(%S+) %d+$') or ''
            if leases[client] == nil then
                local lease = redis.pcall('HGET', prefix .. 'c:' .. client, 'lease')
                leases[client] = (tonumber(type(lease) == 'string' and lease or nil) or 0) > now
            end
            waiting = waiting + (leases[client] and 1 or 0)
            seen = seen + 1
        end
        left_tickets = left_tickets - seen
    end
    return waiting + tickets - seen
end

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbogw]:*', 'COUNT', count)
local length_command = {q = 'LLEN', b = 'ZCARD', o = 'LLEN', w = 'ZCARD'}
local groups = 0
local reply = {step[1], 0}
for _, key in ipairs(step[2]) do
    local kind, name = kind_of(key, prefix), name_of(key, prefix)
    if is_name(name) then
        if kind == 'g' then
            groups = groups + 1
        else
            local entries = redis.pcall(length_command[kind], key)
            if type(entries) == 'number' and entries > 0 then
                local live, waiting = entries, 0
                if kind == 'q' then
                    live = count_live(key, 'LRANGE', entries, is_inbox(name) and name)
                elseif kind == 'b' then
                    live = count_live(key, 'ZRANGE', entries, nil)
                elseif kind == 'o' then
                    -- The first element of the list that a drain keeps aside is no entry.
                    entries = entries - 1
                    live = entries
                elseif kind == 'w' then
                    waiting = waiting_in(key, entries)
                    entries, live = 0, 0
                end
                if entries + waiting > 0 then
                    local place = #reply
                    reply[place + 1], reply[place + 2], reply[place + 3], reply[place + 4] = name, entries, live, waiting
                end
            end
        end
    end
end
reply[2] = groups
return reply
