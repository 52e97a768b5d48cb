-- @include "lib/entry"
-- @include "lib/lease"
-- @include "lib/record"

-- Gives an entry to the ticket that waited longest for its queue, and tells that ticket's client; false when
-- nobody waits. Who is met and does not wait any more leaves the line: it was put there once.
local function hand_over(prefix, queue, entry, now)
    local line = prefix .. 'w:' .. queue
    while true do
        local waiter = redis.call('ZPOPMIN', line)[1]
        if not waiter then
            return false
        end
        local space = string.find(waiter, ' ', 1, true)
        local client, ticket = string.sub(waiter, 1, space - 1), string.sub(waiter, space + 1)
        local client_key = prefix .. 'c:' .. client
        local state = redis.call('HMGET', client_key, 'lease', ticket)
        local queues = state[2] and waits_for(state[2])
        if queues and tonumber(state[1] or 0) > now then
            local told = redis.call('PUBLISH', prefix .. 'wake:' .. client, ticket .. ' ' .. queue .. ' ' .. entry)
            if told > 0 then
                -- It has left this line already; only the lines of other queues still hold it.
                local lines = queues == queue and '' or queues
                redis.call('HSET', client_key, ticket, handed_record(lines, queue, entry))
                keep_handed(client_key, entry_deadline(entry), now)
                return true
            end
            -- Nobody listens: the client is gone until it says hello again.
            redis.call('HSET', client_key, 'lease', 0)
        end
    end
end
