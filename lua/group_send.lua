#!lua
-- Sends a message to a group, in steps of at most 1,000 queues or 2 MiB: one entry to each queue that has members, however many
-- members it has. Skips full queues.
-- reply: {"ok", cursor, delivered, full, expired, failed, queue, ...}   the next step's cursor, empty after the last
--   one; to how many queues of this step it went, how many were full, how many had no member any more, and how many
--   keys were not ours; then the names of the full ones, if they were asked for
-- reply: {"stale"}   nothing was sent: the call came over a connection that the client has since replaced
local group_key  = KEYS[1] -- [zset]                         <prefix>g:<group>
local prefix     = ARGV[1] -- [prefix]                       of every key
local group      = ARGV[2] -- [name]                         the group's name
local expiry     = ARGV[3] -- [int 1..315360000000 ms]       ms that the message may wait
local client     = ARGV[4] -- [name or empty]                the client that calls; else empty
local generation = ARGV[5] -- [int 0..999999999999 or empty] of the client's connection; else empty
local cursor     = ARGV[6] -- [text]                         empty at first, then what the step before returned
local names      = ARGV[7] -- [word names or empty]          "names" to be told which queues were full; else empty
local body       = ARGV[8] -- [bytes]                        g, the group, a space, and the payload
if string.sub(body, 1, #group + 2) ~= 'g' .. group .. ' ' then
-- @include "lib/refuse"
    return refuse('group_send', 'ARGV[8] body', body, 'the letter g, the group, a space, and the payload')
end
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/fence"
-- @include "lib/groups"
-- @include "lib/page"
-- @include "lib/append"
-- @include "lib/rights"

local denied = client == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

-- Of a step, so that it blocks the server for some ms; the least is one queue, whatever the message weighs.
local MAX_QUEUES, MAX_BYTES = 1000, 2097152
local queues_a_step = math.max(1, math.min(MAX_QUEUES, math.floor(MAX_BYTES / #body)))
-- After a loss of data the server does not know the owner of an inbox until the owner renews it. Members that were added
-- within so many ms are kept, for the owner may return.
local RETURNS_WITHIN = 60000

if is_stale(prefix, client, generation) then
    return {'stale'}
end

local queues, next_cursor = page_of(group_key, cursor, queues_a_step)
if #queues == 0 then
    return {'ok', '', 0, 0, 0, 0}
end

local microseconds, now = clock()
local entry = entry_time(microseconds) .. entry_place(1) .. entry_time(now + expiry) .. body
local delivered, expired, failed = 0, 0, 0
local full = {}
for number, bytes in ipairs(redis.call('HMGET', rows_key(prefix, group), unpack(queues))) do
    local queue = queues[number]
    local deadline, capacity, added = read_row(bytes or nil)
    if not deadline or deadline <= now then
        expired = expired + 1
        remove_queue(prefix, group, queue)
    else
        local alive, known = is_alive(prefix, queue, now)
        if alive then
            local queue_key = prefix .. 'q:' .. queue
            local pushed = redis.pcall('RPUSHX', queue_key, entry)
            local refused, why = 0, nil
            if type(pushed) == 'number' and pushed > 0 and pushed <= capacity and (#entry <= SMALL_ENTRY or not is_inbox(queue)) then
                redis.call('PEXPIRE', queue_key, expiry, 'GT')
            else
                refused, why = append(prefix, queue_key, capacity, {entry}, pushed, expiry, now)
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
            if known then
                local owner = redis.pcall('HGET', prefix .. 'i:' .. queue, 'owner')
                if type(owner) == 'string' then
                    wake_again(prefix, owner)
                end
            end
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
