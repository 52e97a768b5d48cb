#!lua flags=allow-oom
-- Lists the members of a group, in steps of some 1,000. A channel that is a member during all steps is listed at least
-- once, perhaps twice.
-- reply: {queue, cursor, channel, ...}   where the next step begins, "" and "0" after the last one; and channels
local group_key = KEYS[1] -- [zset]                   <prefix>g:<group>
local prefix    = ARGV[1] -- [prefix]                 of every key
local group     = ARGV[2] -- [name]                   the group's name
local queue     = ARGV[3] -- [text]                   empty at first, then what the step before returned
local cursor    = ARGV[4] -- [int 0..999999999999999] "0" at first, then what the step before returned
-- @include "lib/clock"
-- @include "lib/groups"
-- @include "lib/page"

local ENOUGH = 1000
local PAGE = 100

local _, now = clock()
local channels, visited = {}, 0

-- Lists the members of a queue until enough were visited. Returns the cursor at which it stopped, "0" at the end.
local function list(name, from)
    repeat
        local step = redis.call('ZSCAN', members_key(prefix, group, name), from, 'COUNT', ENOUGH)
        from = step[1]
        visited = visited + #step[2] / 2
        for i = 1, #step[2], 2 do
            if tonumber(step[2][i + 1]) > now then
                channels[#channels + 1] = name .. step[2][i]
            end
        end
    until from == '0' or visited >= ENOUGH
    return from
end

if cursor ~= '0' then
    cursor = list(queue, cursor)
end
while cursor == '0' and visited < ENOUGH do
    local names, more = page_of(group_key, queue, PAGE)
    for _, name in ipairs(names) do
        queue = name
        visited = visited + 1
        if is_alive(prefix, name, now) then
            cursor = list(name, '0')
        end
        if cursor ~= '0' or visited >= ENOUGH then
            return {queue, cursor, unpack(channels)}
        end
    end
    if more == '' then
        return {'', '0', unpack(channels)}
    end
end
return {queue, cursor, unpack(channels)}
