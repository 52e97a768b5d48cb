#!lua flags=allow-oom
-- Takes the first entries out of a queue, for another server. The batch is kept aside until that server has it, and as
-- long as it is there, each call returns it again.
-- reply: {batch, target, left, entry, left, entry, ...}   the batch's id and where it goes, which are those of the call
--   unless an earlier one was not finished; then entries, each with the ms that it has left;
--   none if so many had expired that others may stand behind them
-- reply: {}   the queue is empty
local queue_key = KEYS[1] -- [list]   <prefix>q:<queue>
local aside_key = KEYS[2] -- [list]   <prefix>o:<queue>: "<batch> <target>", then the entries
local prefix    = ARGV[1] -- [prefix] of every key
local batch     = ARGV[2] -- [name]   an id for a new batch, never used before
local target    = ARGV[3] -- [token]  where a new batch goes, without spaces
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 2 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 2'
elseif #ARGV ~= 3 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 3'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif not find(batch, '^[^%s:]+$') then
    at, given, due = 'ARGV[2] batch', batch, 'a name without space and colon'
elseif not find(target, '^%S+$') then
    at, given, due = 'ARGV[3] target', target, 'a text without space'
elseif find(queue_key, prefix .. 'q:', 1, true) ~= 1 or not find(queue_key, '^[^%s:]+$', #(prefix .. 'q:') + 1) then
    at, given, due = 'KEYS[1] queue_key', queue_key, 'the key <prefix>q:<queue>, under the prefix of the call'
elseif find(aside_key, prefix .. 'o:', 1, true) ~= 1 or not find(aside_key, '^[^%s:]+$', #(prefix .. 'o:') + 1) or string.sub(aside_key, #(prefix .. 'o:') + 1) ~= string.sub(queue_key, #(prefix .. 'q:') + 1) then
    at, given, due = 'KEYS[2] aside_key', aside_key, 'the key <prefix>o:<queue>, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR drain_take: ' .. at .. ': "' .. given .. '" is not ' .. due)
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
-- @include "lib/take"
-- @include "lib/entry"
-- @include "lib/key"
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

local MAX_ENTRIES = 200
local MAX_BYTES = 1048576

local _, now = clock()
local entries = redis.call('LRANGE', aside_key, 0, -1)
if #entries == 0 then
    local queue = name_of(queue_key, prefix)
    local bytes, latest = 0, now
    local is_cut_off = false
    entries[1] = batch .. ' ' .. target
    while #entries <= MAX_ENTRIES and bytes < MAX_BYTES do
        local from, entry = take(prefix, {queue}, now)
        if from == '' then
            return redis.error_reply(entry)
        elseif from == false then
            is_cut_off = true
            break
        elseif not entry then
            break
        end
        entries[#entries + 1] = entry
        bytes = bytes + #entry
        latest = math.max(latest, entry_deadline(entry))
    end
    if #entries == 1 then
        return is_cut_off and {batch, target} or {}
    end
    redis.call('RPUSH', aside_key, unpack(entries))
    redis.call('PEXPIRE', aside_key, latest - now)
end

local reply = {string.match(entries[1], '^(%S+) (%S+)$')}
for i = 2, #entries do
    reply[#reply + 1] = entry_deadline(entries[i]) - now
    reply[#reply + 1] = entries[i]
end
return reply
