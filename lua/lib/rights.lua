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
