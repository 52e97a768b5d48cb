#!lua
-- Sends a message to a group, in steps of at most 1,000 queues: one entry for each queue that has members, however many
-- they are. A full queue is passed over.
-- reply: {"ok", cursor, delivered, full, expired, failed, queue, ...}   the next step's cursor, empty after the last
--   one; to how many queues of this step it went, how many were full, how many had no member any more, and how many
--   keys were not ours; then the names of the full ones, if they were asked for
-- reply: {"stale"}   nothing was sent: the call came over a connection that the client has since replaced
local index      = KEYS[1] -- [zset]   <prefix>g:<group>
local prefix     = ARGV[1] -- [text]   of every key
local group      = ARGV[2] -- [text]   the group's name
local expiry     = ARGV[3] -- [int]    ms that the message may wait
local client     = ARGV[4] -- [text]   the client that calls; else empty
local generation = ARGV[5] -- [int]    of the client's connection; else empty
local cursor     = ARGV[6] -- [text]   empty at first, then what the step before said
local names      = ARGV[7] -- [text]   "names" to be told which queues were full; else empty
local body       = ARGV[8] -- [bytes]  g, the group, a space, and the payload
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/fence"
-- @include "lib/groups"
-- @include "lib/page"
-- @include "lib/append"

-- An owner that the server does not know may be about to come back, after a loss of data: for so many ms the members
-- that were added meanwhile are kept.
local RETURNS_WITHIN = 60000

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local queues, next_cursor = page_of(index, cursor, 1000)
if #queues == 0 then
    return {'ok', '', 0, 0, 0, 0}
end

local microseconds, now = clock()
local entry = entry_time(microseconds) .. entry_place(1) .. entry_time(now + expiry) .. body
local delivered, expired, failed = 0, 0, 0
local full = {}
for number, text in ipairs(redis.call('HMGET', rows_key(prefix, group), unpack(queues))) do
    local queue = queues[number]
    local deadline, capacity, added = read_row(text or nil)
    if not deadline or deadline <= now then
        expired = expired + 1
        remove_queue(prefix, group, queue)
    else
        local alive, known = is_alive(prefix, queue, now)
        if alive then
            local key = prefix .. 'q:' .. queue
            local length = redis.pcall('RPUSHX', key, entry)
            local refused, why = 0, nil
            if type(length) == 'number' and length > 0 and length <= capacity then
                redis.call('PEXPIRE', key, expiry, 'GT')
            else
                refused, why = append(prefix, key, capacity, {entry}, length, expiry, now)
            end
            if refused == 0 then
                delivered = delivered + 1
            elseif type(why) == 'number' then
                full[#full + 1] = queue
            else
                failed = failed + 1
            end
        else
            expired = expired + 1
            if not known and added + RETURNS_WITHIN < now then
                remove_queue(prefix, group, queue)
            end
        end
    end
end
if names == '' then
    return {'ok', next_cursor, delivered, #full, expired, failed}
end
return {'ok', next_cursor, delivered, #full, expired, failed, unpack(full)}
