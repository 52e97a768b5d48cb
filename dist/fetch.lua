#!lua flags=allow-oom
-- Gives what an open ticket was handed, whole, where pop only announced it. It changes nothing, so it may come late, and over
-- another connection than the one that listens.
-- reply: {"ok", queue, entry}   as pop gives it; of an inbox a list of entries stands in place of the entry
-- reply: {"ok"}   the ticket holds nothing of this queue that is still good: ask for the ticket with pop
-- reply: {"stale"}   the generation is not the client's, or no longer, or its lease is over
local client_key = KEYS[1] -- [hash]                   <prefix>c:<client>
local queue_key  = KEYS[2] -- [list]                   <prefix>q:<queue> of what was announced
local prefix     = ARGV[1] -- [prefix]                 of every key
local generation = ARGV[2] -- [int 0..999999999999]    of the client's connection
local ticket     = ARGV[3] -- [int 0..999999999999999] its number
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 2 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 2'
elseif #ARGV ~= 3 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 3'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif generation ~= '0' and generation ~= '1' and (#generation > 12 or not find(generation, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[2] generation', generation, 'a whole number from 0 to 999999999999'
elseif ticket ~= '0' and ticket ~= '1' and (#ticket > 15 or not find(ticket, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[3] ticket', ticket, 'a whole number from 0 to 999999999999999'
elseif find(client_key, prefix .. 'c:', 1, true) ~= 1 or not find(client_key, '^[^%s:]+$', #(prefix .. 'c:') + 1) then
    at, given, due = 'KEYS[1] client_key', client_key, 'the key <prefix>c:<client>, under the prefix of the call'
elseif find(queue_key, prefix .. 'q:', 1, true) ~= 1 or not find(queue_key, '^[^%s:]+$', #(prefix .. 'q:') + 1) then
    at, given, due = 'KEYS[2] queue_key', queue_key, 'the key <prefix>q:<queue>, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR fetch: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
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

local _, now = clock()
local state = redis.pcall('HMGET', client_key, 'g', 'lease', ticket)
if state[1] ~= generation or (tonumber(state[2] or nil) or 0) <= now then
    return {'stale'}
end
local queue, record = name_of(queue_key, prefix), state[3] or ''
if was_batch(record) == queue then
    local entries = same_batch(prefix, record, now)
    return entries and {'ok', queue, entries} or {'ok'}
end
local _, from, entry = was_handed(record)
if from == queue and entry_deadline(entry) > now then
    return {'ok', queue, entry}
end
return {'ok'}
