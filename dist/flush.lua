#!lua flags=allow-oom
-- Removes the messages and groups of one step of a scan. Clients, their waiting tickets and their inboxes stay.
-- reply: {cursor, removed}   the next step's cursor, "0" after the last one; how many keys this step removed
local schema_key = KEYS[1]           -- [string]                 <prefix>schema, which stays; it tells where to run
local prefix     = ARGV[1]           -- [prefix]                 of every key
local cursor     = ARGV[2]           -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = tonumber(ARGV[3]) -- [int 1..1000000]         about how many keys to look at
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
elseif ARGV[3] ~= '1' and (#ARGV[3] > 7 or not find(ARGV[3], '^[1-9]%d*$') or #ARGV[3] == 7 and ARGV[3] + 0 > 1000000) then
    at, given, due = 'ARGV[3] count', ARGV[3], 'a whole number from 1 to 1000000'
elseif schema_key ~= prefix .. 'schema' then
    at, given, due = 'KEYS[1] schema_key', schema_key, 'the key <prefix>schema, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR flush: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
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

local denied = denied_command(prefix, COMMANDS) or denied_command(prefix, {'SCAN 0', 'TYPE q:'})
if denied then
    return redis.error_reply(no_right(denied))
end

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbgdmslo]:*', 'COUNT', count)
local types = {q = 'list', b = 'zset', g = 'zset', d = 'hash', m = 'zset', s = 'zset', l = 'hash', o = 'list'}
local removed = 0
for _, key in ipairs(step[2]) do
    if is_name(name_of(key, prefix)) and redis.call('TYPE', key).ok == types[kind_of(key, prefix)] then
        removed = removed + redis.call('UNLINK', key)
    end
end
return {step[1], removed}
