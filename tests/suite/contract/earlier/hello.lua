#!lua flags=allow-oom
-- Begins a connection of a client: calls that are still on their way over an earlier connection are refused from now on.
-- reply: {"ok", now, known}   the server's time in ms; 1 if the server still knew this client, else 0
-- reply: {"stale", generation}   the generation is not higher than the one the server knows
-- reply: {"schema", schema}   the data here are of another schema
local client_key = KEYS[1]           -- [hash]                <prefix>c:<client>
local schema_key = KEYS[2]           -- [string]              <prefix>schema
local generation = tonumber(ARGV[1]) -- [int 0..999999999999] higher with every connection of this client
local lease      = tonumber(ARGV[2]) -- [int 1..3600000 ms]   ms without a sign of life, at most an hour, after which its tickets no longer wait
local schema     = ARGV[3]           -- [int 1..999999]       the schema that the client reads and writes
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 2 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 2'
elseif #ARGV ~= 3 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 3'
elseif ARGV[1] ~= '0' and ARGV[1] ~= '1' and (#ARGV[1] > 12 or not find(ARGV[1], '^[1-9]%d*$')) then
    at, given, due = 'ARGV[1] generation', ARGV[1], 'a whole number from 0 to 999999999999'
elseif ARGV[2] ~= '1' and (#ARGV[2] > 7 or not find(ARGV[2], '^[1-9]%d*$') or #ARGV[2] == 7 and ARGV[2] + 0 > 3600000) then
    at, given, due = 'ARGV[2] lease', ARGV[2], 'a whole number of ms from 1 to 3600000'
elseif schema ~= '1' and (#schema > 6 or not find(schema, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[3] schema', schema, 'a whole number from 1 to 999999'
elseif find(client_key, string.sub(schema_key, 1, -7) .. 'c:', 1, true) ~= 1 or not find(client_key, '^[^%s:]+$', #(string.sub(schema_key, 1, -7) .. 'c:') + 1) then
    at, given, due = 'KEYS[1] client_key', client_key, 'the key <prefix>c:<client>, under the prefix of the call'
elseif not find(schema_key, '.schema$') then
    at, given, due = 'KEYS[2] schema_key', schema_key, 'the key <prefix>schema, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR hello: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/lease"
-- A client is remembered for an hour past its lease: without its generation, a late command of an old connection would
-- pass for one of a new connection. A client is also remembered as long as an entry that it was handed. So the time is
-- only ever extended.
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
-- @include "lib/rights"
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

local denied = denied_command(string.sub(schema_key, 1, -7), COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

local stored_schema = redis.call('GET', schema_key)
if stored_schema and stored_schema ~= schema then
    return {'schema', stored_schema}
end

local known = redis.pcall('HGET', client_key, 'g')
if type(known) == 'table' or known and not string.find(known, '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') then
    -- Another program put something else in the place of the client's record or its generation: it begins anew.
    redis.call('UNLINK', client_key)
    known = false
end
if known and (tonumber(known) or 0) >= generation then
    return {'stale', tonumber(known)}
end

local _, now = clock()
if not stored_schema then
    redis.call('SET', schema_key, schema)
end
redis.call('HSET', client_key, 'g', generation, 'lease', now + lease)
keep_client(client_key, lease, not known)
return {'ok', now, known and 1 or 0}
