#!lua flags=no-writes
-- Counts the members of a group, in steps of at most 1,000 queues, without walking them.
-- reply: {cursor, members}   the next step's cursor, empty after the last one; how many members this one counted
local index  = KEYS[1]           -- [zset]  <prefix>g:<group>
local prefix = ARGV[1]           -- [text]  of every key
local group  = ARGV[2]           -- [text]  the group's name
local cursor = ARGV[3]           -- [text]  empty at first, then what the step before said
local enough = tonumber(ARGV[4]) -- [int]   so many members end the count: 1 asks whether there is any
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

local _, now = clock()
local queues, next_cursor = page_of(index, cursor, 1000)
local members = 0
for _, queue in ipairs(queues) do
    if is_alive(prefix, queue, now) then
        members = members + redis.call('ZCOUNT', members_key(prefix, group, queue), '(' .. string.format('%.0f', now), '+inf')
        if members >= enough then
            return {'', members}
        end
    end
end
return {next_cursor, members}
