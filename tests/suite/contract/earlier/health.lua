#!lua
-- Looks whether this server and the rights of its user allow what the scripts do; changes nothing. The server itself refuses
-- the call where it takes no writes or has no memory left.
-- reply: {"ok", now, may_ask}   the server's time in ms; 1 if the user may call INFO, which tells the eviction policy, else 0
-- reply: {"denied", command}   the user has no right to this command on the layer's keys and channels
local client_key = KEYS[1] -- [hash]   <prefix>c:<client>, which tells where to run
local prefix     = ARGV[1] -- [prefix] of every key
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 1 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 1'
elseif #ARGV ~= 1 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 1'
elseif #prefix > 100 then
    at, given, due = 'ARGV[1] prefix', prefix, 'a prefix of at most 100 bytes'
elseif find(client_key, prefix .. 'c:', 1, true) ~= 1 or not find(client_key, '^[^%s:]+$', #(prefix .. 'c:') + 1) then
    at, given, due = 'KEYS[1] client_key', client_key, 'the key <prefix>c:<client>, under the prefix of the call'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR health: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked
-- @include "lib/clock"
-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
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

local denied = denied_command(prefix, COMMANDS)
if denied then
    return {'denied', denied}
end
local _, now = clock()
return {'ok', now, redis.acl_check_cmd('INFO', 'memory') and 1 or 0}
