-- @include "lib/layout"

-- Serves several open tickets that all name one queue, which is no inbox, with one look at it. The finished tickets of the
-- call must have delivered what they were handed, and stand in no line. Returns the reply; or, where it meets anything
-- else, nil and what it read of the client, with nothing changed.
local function serve_one_queue(client_key, queue_key, prefix, client, generation, lease, items, first_item, first_open, microseconds,
    now, max_bytes, state)
    local call, pcall = redis.call, redis.pcall
    local fields, finished, open = {'g', 'lease'}, 0, 0
    for slot = first_item, first_open - 1, 2 do
        finished = finished + 1
        fields[2 + finished] = items[slot]
    end
    local last = -1
    for slot = first_open, #items, 3 do
        -- A ticket that is named twice would take two messages.
        local ticket = tonumber(items[slot])
        if ticket <= last then
            return nil, state
        end
        last, open = ticket, open + 1
        fields[2 + finished + open] = items[slot]
    end
    state = state or pcall('HMGET', client_key, unpack(fields))
    local left = (tonumber(state[2] or nil) or 0) - now
    if state[1] ~= generation or left <= 0 then
        return {'stale'}
    elseif left < lease * 5 / 6 then
        return nil, state
    end

    local gone, count = {}, 0
    for i = 1, finished do
        local record = state[2 + i]
        if record then
            local space = string.sub(record, 1, 2) == HANDED_ALONE and string.find(record, ' ', 3, true)
            if not space or string.sub(record, space + 1, space + ID_BYTES) ~= items[first_item + 2 * i - 1] then
                return nil, state
            end
            count = count + 1
            gone[count] = items[first_item + 2 * i - 2]
        end
    end
    for i = 3 + finished, 2 + finished + open do
        if state[i] then
            return nil, state
        end
    end
    local queue = string.sub(queue_key, #prefix + 3)
    if call('EXISTS', prefix .. 'b:' .. queue) == 1 then
        return nil, state
    end

    -- All are read before any is removed, because the reply's bytes are bounded.
    local entries = pcall('LRANGE', queue_key, 0, open - 1)
    if entries.err then
        return nil, state
    end
    local reply, size = {'ok', open}, 2
    local changed, fields_set = {}, 0
    local bytes, latest = 0, 0
    local before = HANDED_ALONE .. queue .. ' '
    for i, entry in ipairs(entries) do
        local deadline = #entry >= HEADER_BYTES and struct.unpack('>I8', entry, DEADLINE_AT) or FAR_FUTURE
        bytes = bytes + #entry
        if deadline <= now or bytes >= max_bytes then
            return nil, state
        elseif deadline > latest then
            latest = deadline
        end
        local ticket = fields[2 + finished + i]
        reply[size + 1], reply[size + 2], reply[size + 3] = ticket, queue, entry
        size = size + 3
        changed[fields_set + 1], changed[fields_set + 2] = ticket, before .. entry
        fields_set = fields_set + 2
    end
    if #entries > 0 then
        call('LTRIM', queue_key, #entries, '-1')
    end
    if count > 0 then
        call('HDEL', client_key, unpack(gone))
    end
    if latest - now > MEMORY then
        call('PEXPIRE', client_key, math.min(latest, FAR_FUTURE) - now, 'GT')
    end

    local line, places = {}, 0
    for i = #entries + 1, open do
        if string.byte(items[first_open + 3 * i - 2]) == WAITS then
            local ticket = fields[2 + finished + i]
            line[places + 1], line[places + 2] = microseconds + i, client .. ' ' .. ticket
            places = places + 2
            changed[fields_set + 1], changed[fields_set + 2] = ticket, 'w' .. queue
            fields_set = fields_set + 2
        end
    end
    if places > 0 then
        local line_key = prefix .. 'w:' .. queue
        local added = pcall('ZADD', line_key, 'NX', unpack(line))
        if type(added) == 'table' then
            -- The key belongs to another program.
            for i = #entries + 1, open do
                if string.byte(items[first_open + 3 * i - 2]) == WAITS then
                    reply[size + 1], reply[size + 2], reply[size + 3] = fields[2 + finished + i], '', said_of(added.err, line_key)
                    size = size + 3
                end
            end
            fields_set = 2 * #entries
        else
            call('PEXPIRE', line_key, lease + MEMORY)
        end
    end
    if fields_set > 0 then
        call('HSET', client_key, unpack(changed, 1, fields_set))
    end
    return reply
end
