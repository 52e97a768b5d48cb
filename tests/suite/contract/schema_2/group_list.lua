#!lua flags=no-writes
-- Lists the members of a group, in steps of some 1,000. Who is in it all the while is listed, perhaps twice.
-- reply: {queue, cursor, channel, ...}   where the next step begins, "" and "0" after the last one; and channels
local index  = KEYS[1] -- [zset]  <prefix>g:<group>
local prefix = ARGV[1] -- [text]  of every key
local group  = ARGV[2] -- [text]  the group's name
local queue  = ARGV[3] -- [text]  empty at first, then what the step before said
local cursor = ARGV[4] -- [text]  "0" at first, then what the step before said
-- @include "lib/clock"
-- The server's clock, in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/groups"
-- @include "lib/inbox"
-- An inbox is the queue of one process; its name ends in "!".
local function is_inbox(queue)
    return string.byte(queue, -1) == 33
end

-- A group is kept by the queues of its members, each with a row: until when it has members, how many messages it holds
-- and when a member was added last. The members of one queue are addresses with the end of each one's membership; of a
-- queue that is no inbox the one address is empty.
local function index_key(prefix, group)
    return prefix .. 'g:' .. group
end

local function rows_key(prefix, group)
    return prefix .. 'd:' .. group
end

local function members_key(prefix, group, queue)
    return prefix .. 'm:' .. group .. ' ' .. queue
end

local function groups_key(prefix, queue)
    return prefix .. 's:' .. queue
end

-- Packed, because reading numbers that are text costs a send more than writing to the queue does.
local function row(deadline, capacity, added)
    return struct.pack('>I8I8I8', deadline, capacity, added)
end

-- A row's deadline, capacity, and when a member was added last; nil of what is no row.
local function read_row(bytes)
    if bytes and #bytes == 24 then
        return struct.unpack('>I8I8I8', bytes)
    end
end

-- Whether the members of a queue count: those of an inbox do while its owner lives. Says also whether the owner is
-- still known.
local function is_alive(prefix, queue, now)
    if not is_inbox(queue) then
        return true, true
    end
    local lease = redis.pcall('HGET', prefix .. 'i:' .. queue, 'lease')
    return (tonumber(type(lease) == 'string' and lease or nil) or 0) > now, type(lease) == 'string'
end

-- Takes a queue out of a group, though some of the keys may be of another's making.
local function remove_queue(prefix, group, queue)
    redis.pcall('ZREM', index_key(prefix, group), queue)
    redis.pcall('HDEL', rows_key(prefix, group), queue)
    redis.pcall('ZREM', groups_key(prefix, queue), group)
    redis.call('UNLINK', members_key(prefix, group, queue))
end

-- Lets a key live as long as its latest part. Here as elsewhere a number that came as text is passed on as text, for to
-- make it text again costs as much as the call.
local function keep_key(key, left)
    if redis.call('PEXPIRE', key, left, 'NX') == 0 then
        redis.call('PEXPIRE', key, left, 'GT')
    end
end
-- @include "lib/page"
-- The next names, in order, of a set whose scores are all 0, and the cursor of the page after them, which is empty
-- after the last. Who is in the set all the while is met once.
local function page_of(key, cursor, most)
    local names = redis.call('ZRANGE', key, cursor == '' and '-' or '(' .. cursor, '+', 'BYLEX', 'LIMIT', '0', most + 1)
    -- One more than asked for tells whether there is another page.
    if #names <= most then
        return names, ''
    end
    names[most + 1] = nil
    return names, names[most]
end

local ENOUGH = 1000
local PAGE = 100

local _, now = clock()
local channels, visited = {}, 0

-- Lists members of a queue until enough were looked at; says where it stopped, "0" at the end.
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
    local names, more = page_of(index, queue, PAGE)
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
