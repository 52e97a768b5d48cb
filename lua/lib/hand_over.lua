-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/controls"
-- @include "lib/lease"
-- @include "lib/no_right"
-- @include "lib/record"

-- Returns the command to which the user who calls has no right, of those that hand something to a ticket that was taken out of
-- its line: it could not be put back there as it was. Who sends as no client has said no hello, which would have looked at
-- the rights. Looks once in a call.
local hand_denied
local function refused_to_hand(prefix)
    if hand_denied == nil then
        local client_key = prefix .. 'c:'
        hand_denied = not redis.acl_check_cmd('HMGET', client_key, 'f') and 'hmget'
            or not redis.acl_check_cmd('PUBLISH', prefix .. 'wake:', 'v') and 'publish'
            or not redis.acl_check_cmd('HSET', client_key, 'f', 'v') and 'hset'
            or not redis.acl_check_cmd('PEXPIRE', client_key, '1') and 'pexpire'
    end
    return hand_denied
end

-- Has a client say hello again, whose lease counts as over here, though it may live: the clock was perhaps set.
local function wake_again(prefix, client)
    redis.set_repl(redis.REPL_NONE)
    redis.pcall('PUBLISH', prefix .. 'wake:' .. client, 'again')
    redis.set_repl(redis.REPL_ALL)
end

-- Returns the client of the ticket that has waited longest for a queue, the ticket, and its queues; nil if none waits. A
-- ticket that no longer waits leaves the line: it was put there once. The last two values are its place in the line and what
-- stood there. Returns nil and an error if the user who calls has not all rights to hand something over.
local function next_waiter(prefix, queue, now)
    if refused_to_hand(prefix) then
        return nil, no_right(refused_to_hand(prefix))
    end
    local line_key = prefix .. 'w:' .. queue
    while true do
        local first = redis.pcall('ZPOPMIN', line_key)
        local waiter = first[1]
        if not waiter then
            return nil, first.err and string.find(first.err, 'WRONGTYPE', 1, true) ~= 1 and refusal_of('ZPOPMIN', first.err) or nil
        end
        local client, ticket = string.match(waiter, '^(%S+) (%d+)$')
        if client then
            local state = redis.pcall('HMGET', prefix .. 'c:' .. client, 'lease', ticket)
            local queues = state[2] and waits_for(state[2])
            if queues and (tonumber(state[1] or nil) or 0) > now then
                return client, ticket, queues, first[2], waiter
            elseif queues or state[2] and not is_record(state[2]) then
                wake_again(prefix, client)
            end
        end
    end
end

-- How many bytes of entries this call has published.
local woken_bytes = 0

-- Gives an entry to the ticket that has waited longest for its queue, and publishes it to that ticket's client. Returns
-- false if none waits, and an error with it if the one that waits could not be told. An entry of an inbox is its reader's next batch and stays in the inbox, where it must be already.
local function hand_over(prefix, queue, entry, now)
    while true do
        local client, ticket, queues, place, waiter = next_waiter(prefix, queue, now)
        if not client then
            return false, ticket
        end
        local client_key = prefix .. 'c:' .. client
        local wake_channel = prefix .. 'wake:' .. client
        -- Not to replicas: who is still connected to a server that was demoted would get the message from there, and
        -- another from here.
        redis.set_repl(redis.REPL_NONE)
        local woken = ticket
        if #entry <= MAX_WOKEN_ENTRY and woken_bytes + #entry <= MAX_WOKEN_BYTES then
            woken = ticket .. ' ' .. queue .. ' ' .. entry
            woken_bytes = woken_bytes + #entry
        end
        local listeners = redis.pcall('PUBLISH', wake_channel, woken)
        redis.set_repl(redis.REPL_ALL)
        if type(listeners) == 'table' then
            -- Who calls lacks a right, which is no fault of the one that waits.
            redis.call('ZADD', prefix .. 'w:' .. queue, place, waiter)
            return false, listeners.err
        end
        if listeners > 0 then
            if is_inbox(queue) then
                local controls = is_control(entry) and '1' or '0'
                redis.call('HSET', client_key, ticket, batch_record(queue, '1', controls, entry_id(entry)))
            else
                -- The ticket has left this line already; only the lines of its other queues still hold it.
                local lines = queues == queue and '' or queues
                redis.call('HSET', client_key, ticket, handed_record(lines, queue, entry))
                keep_handed(client_key, entry_deadline(entry), now)
            end
            return true
        end
        -- Nobody listens here: the client is gone until its next hello. If it listens to a server that follows this one
        -- it learns so that it has to come here.
        redis.call('HSET', client_key, 'lease', 0)
        redis.call('PUBLISH', wake_channel, 'moved')
    end
end
