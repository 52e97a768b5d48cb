#!lua flags=allow-oom
-- Lists the groups of an inbox with their members in it, in steps of some 1,000, for its owner, who lost count. Who is
-- in a group all the while is listed, perhaps twice.
-- reply: {now, group, cursor, name, {address, deadline, ...}, name, {...}, ...}   the server's time in µs; where the
--   next step begins, "" and "0" after the last one; then groups, each with some of its members and when they end
local groups    = KEYS[1] -- [zset]  <prefix>s:<inbox>
local inbox_key = KEYS[2] -- [hash]  <prefix>i:<inbox>
local prefix    = ARGV[1] -- [text]  of every key
local inbox     = ARGV[2] -- [text]  its name
local group     = ARGV[3] -- [text]  empty at first, then what the step before said
local cursor    = ARGV[4] -- [text]  "0" at first, then what the step before said
-- @include "lib/clock"
-- @include "lib/groups"
-- @include "lib/page"

local ENOUGH = 1000
local PAGE = 100

local microseconds = clock()
if group == '' and redis.call('HEXISTS', inbox_key, 'controls') == 1 then
    -- From now on changes are told again, even if so many wait that they were not any more.
    redis.call('HSET', inbox_key, 'controls', 0)
end

local reply = {microseconds, '', '0'}
local listed = 0
local function list(name, from)
    repeat
        local step = redis.call('ZSCAN', members_key(prefix, name, inbox), from, 'COUNT', ENOUGH)
        from = step[1]
        reply[#reply + 1] = name
        reply[#reply + 1] = step[2]
        listed = listed + 1 + #step[2] / 2
    until from == '0' or listed >= ENOUGH
    return from
end

if cursor ~= '0' then
    cursor = list(group, cursor)
end
while cursor == '0' and listed < ENOUGH do
    local names, more = page_of(groups, group, PAGE)
    for _, name in ipairs(names) do
        group = name
        cursor = list(name, '0')
        if cursor ~= '0' or listed >= ENOUGH then
            reply[2], reply[3] = group, cursor
            return reply
        end
    end
    if more == '' then
        return reply
    end
end
reply[2], reply[3] = group, cursor
return reply
