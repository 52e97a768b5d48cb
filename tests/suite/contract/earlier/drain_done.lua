#!lua flags=allow-oom
-- Forgets the entries of a batch that was taken out of a queue, because another server has them.
-- reply: {forgotten}   how many entries; 0 if the batch is not there
local aside_key = KEYS[1] -- [list] <prefix>o:<queue>
local batch     = ARGV[1] -- [name] the batch's id
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 1 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 1'
elseif #ARGV ~= 1 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 1'
elseif not find(batch, '^[^%s:]+$') then
    at, given, due = 'ARGV[1] batch', batch, 'a name without space and colon'
elseif not find(aside_key, '.o:[^%s:]+$') then
    at, given, due = 'KEYS[1] aside_key', aside_key, 'the key <prefix>o:<queue>'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR drain_done: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked

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

local denied = denied_command(string.match(aside_key, '^(.*)o:'), COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end
local head = redis.call('LINDEX', aside_key, 0)
if not head or string.match(head, '^%S+') ~= batch then
    return {0}
end
-- The first element of the list is no entry.
local entries = redis.call('LLEN', aside_key) - 1
redis.call('UNLINK', aside_key)
return {entries}
