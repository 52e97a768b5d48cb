-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/controls"
-- @include "lib/lease"
-- @include "lib/record"

-- The ticket that waited longest for a queue, its client and its queues; nil when nobody waits. Who is met and does
-- not wait any more leaves the line: it was put there once.
local function next_waiter(prefix, queue, now)
    local line = prefix .. 'w:' .. queue
    while true do
        local waiter = redis.pcall('ZPOPMIN', line)[1]
        if not waiter then
            return nil
        end
        local client, ticket = string.match(waiter, '^(%S+) (%d+)$')
        if client then
            local state = redis.pcall('HMGET', prefix .. 'c:' .. client, 'lease', ticket)
            local queues = state[2] and waits_for(state[2])
            if queues and tonumber(state[1] or 0) > now then
                return client, ticket, queues
            end
        end
    end
end

-- Gives an entry to the ticket that waited longest for its queue, and tells that ticket's client; false when
-- nobody waits. An entry of an inbox is its reader's next batch, and stays in the inbox, where it must be already.
local function hand_over(prefix, queue, entry, now)
    while true do
        local client, ticket, queues = next_waiter(prefix, queue, now)
        if not client then
            return false
        end
        local client_key = prefix .. 'c:' .. client
        if redis.call('PUBLISH', prefix .. 'wake:' .. client, ticket .. ' ' .. queue .. ' ' .. entry) > 0 then
            if is_inbox(queue) then
                local controls = is_control(entry) and '1' or '0'
                redis.call('HSET', client_key, ticket, batch_record(queue, '1', controls, entry_id(entry)))
            else
                -- It has left this line already; only the lines of other queues still hold it.
                local lines = queues == queue and '' or queues
                redis.call('HSET', client_key, ticket, handed_record(lines, queue, entry))
                keep_handed(client_key, entry_deadline(entry), now)
            end
            return true
        end
        -- Nobody listens: the client is gone until its next hello.
        redis.call('HSET', client_key, 'lease', 0)
    end
end
