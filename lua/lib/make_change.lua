-- @include "lib/change"
-- @include "lib/clock"
-- @include "lib/fence"
-- @include "lib/refuse"

local OPERATION_SLOTS = 4
local MAX_OPERATIONS = 200
-- Ten years, in ms.
local MAX_TIME = 315360000000

-- Returns which part of an operation is wrong, counted from 0, what it is called, and what is due; nil if none is.
local function operation_fault(kind, group, address, time, inbox)
    if kind == 'e' and inbox then
        return nil
    end
    local has_time = kind == '+' or inbox and (kind == 'a' or kind == 's' or kind == 'x')
    if not has_time and kind ~= '-' then
        return 0, 'kind', '+ or -, nor of an inbox a, s, x or e'
    elseif group == '' or string.find(group, '[%s:]') then
        return 1, 'group', 'a name without space and colon'
    elseif inbox == (address == '') or string.find(address, '[%s:]') then
        return 2, 'address', 'a name without space and colon where the queue is an inbox, and else empty'
    end
    local numbers, label = time, nil
    if has_time and kind ~= 'x' and string.find(time, kind == '+' and '^%d+ =%S' or '^%d+ %d+ =') then
        numbers, label = string.match(time, '^(.-) =(.*)$')
        if string.find(label, '%s') or #label > MAX_LABEL then
            return 3, 'time', 'a label of at most ' .. MAX_LABEL .. ' bytes without space behind the time'
        end
    end
    if kind == 'a' and not string.find(numbers, '^%d+ %d+$') then
        return 3, 'time', 'a whole number of ms, a space, and the number of a change'
    elseif has_time and kind ~= 'a' and not string.find(numbers, kind == 's' and '^%d+ %d+$' or '^%d+$') then
        return 3, 'time', 'a whole number of ms, of an s two, with a space between'
    elseif kind == '+' and (tonumber(numbers) < 1 or tonumber(numbers) > MAX_TIME) then
        return 3, 'time', 'a whole number of ms from 1 to ' .. MAX_TIME
    elseif (kind == 'a' or kind == 's') and tonumber(string.match(time, '^%d+')) > FAR_FUTURE then
        return 3, 'time', 'an end of ' .. string.format('%.0f', FAR_FUTURE) .. ' at the latest'
    end
end

-- Returns the error of a call that is none, or nil. Nothing was written until then.
local function refuse_change(script, queue, client, call, operations, first)
    local count = (#operations - first + 1) / OPERATION_SLOTS
    if count ~= math.floor(count) or count < 1 or count > MAX_OPERATIONS then
        return refuse(script, 'ARGV', #operations, 'the number of arguments of 1 to ' .. MAX_OPERATIONS .. ' operations, which have ' ..
            OPERATION_SLOTS .. ' each; if there are more, make several calls')
    elseif client ~= '' and call == '' then
        return refuse(script, 'ARGV[5] call', call, 'a whole number, as a client gives it')
    end
    local inbox = is_inbox(queue)
    for slot = first, #operations, OPERATION_SLOTS do
        local part, what, due = operation_fault(operations[slot], operations[slot + 1], operations[slot + 2], operations[slot + 3], inbox)
        if part then
            local place = 'ARGV[' .. slot + part .. '] ' .. what .. ' of operation ' .. (slot - first) / OPERATION_SLOTS + 1
            return refuse(script, place, operations[slot + part], due)
        end
    end
end

-- The number of the last flush of the inbox's groups.
local function last_flush(change)
    if not change.flushed then
        change.flushed = tonumber(redis.call('HGET', change.prefix .. 'i:' .. change.queue, 'flushed') or nil) or 0
    end
    return change.flushed
end

-- What a change tells of the label of a member: nothing to an owner that reads none.
local function told_label(change, label)
    return label and change.state and change.state[READS_LABELS] and ' =' .. label or ''
end

-- Gives a member that was put right a label: the one that its owner says, or, if it says nothing of one, that which its membership
-- had when it ended at `before`. Returns it. A key of another program keeps nobody from being a member.
local function repair_label(change, group, address, before, deadline, label)
    local has_labels = change.state[HAS_LABELS] or change.has_labels
    local key = labels_key(change.prefix, group, change.queue)
    if not label and before and has_labels then
        local found = redis.pcall('HGET', key, address)
        label = label_of(type(found) == 'string' and found or nil, string.format('%.0f', before))
        if before == deadline then
            return label
        end
    elseif label == '' and has_labels then
        redis.pcall('HDEL', key, address)
    end
    if label and label ~= '' and not put_label(change, group, address, deadline, label) then
        return label
    end
end

-- Does one operation, and notes what it did. Returns an error.
local function do_operation(change, kind, group, address, time, place)
    local member = group .. ' ' .. address
    local parts = change.parts
    if kind == 'e' then
        change.state[IS_QUIET] = false
        redis.call('HDEL', change.prefix .. 'i:' .. change.queue, 'quiet')
        parts[#parts + 1] = 'e'
        return nil
    elseif kind == '-' then
        local why = leave(change, group, address)
        if not why then
            -- Who was not in is told too: the server may have lost what the owner still has.
            parts[#parts + 1] = '-' .. member
        end
        return why
    elseif kind == '+' then
        local left, label = tonumber(time), nil
        if not left then
            left, label = string.match(time, '^(%d+) =(%S+)$')
            left = tonumber(left)
        end
        local why = join_as(change, group, address, left, label, place)
        if not why then
            parts[#parts + 1] = '+' .. member .. ' ' .. string.format('%.0f', change.now + left) .. told_label(change, label)
        end
        return why
    end
    local wanted, seen, label = string.match(time, '^(%d+) ?(%d*) ?(=?%S*)$')
    wanted, seen = tonumber(wanted), tonumber(seen)
    local deadline = redis.pcall('ZSCORE', members_key(change.prefix, group, change.queue), address)
    if type(deadline) == 'table' then
        return said_of(deadline.err, members_key(change.prefix, group, change.queue))
    end
    deadline = tonumber(deadline or nil)
    local before, why = deadline, nil
    if kind == 'x' then
        if deadline ~= wanted then
            return nil
        end
        why, deadline = leave(change, group, address), 0
    else
        if kind == 's' and deadline ~= seen or kind == 'a' and last_flush(change) > seen then
            return nil
        elseif kind == 's' or not deadline or deadline <= change.now then
            deadline = wanted
        end
        if deadline <= change.now then
            return nil
        end
        -- Keys of the group may be gone, though its row is there.
        why = join(change, group, address, deadline, false, place)
    end
    if not why then
        if kind ~= 'x' then
            -- What is said of a label is said of the membership that was to be.
            label = repair_label(change, group, address, before, deadline, deadline == wanted and string.match(label, '^=(.*)') or nil)
        else
            label = nil
        end
        parts[#parts + 1] = '~' .. member .. ' ' .. string.format('%.0f', deadline) .. told_label(change, label)
    end
    return why
end

-- Makes a change of the memberships of one queue. Returns the reply.
local function make_change(script, prefix, queue, client, generation, call, capacity, operations, first)
    local refused = refuse_change(script, queue, client, call, operations, first)
    if refused then
        return refused
    end
    if is_stale(prefix, client, generation) then
        return {'stale'}
    end
    local microseconds, now = clock()
    local change, why = begin_change(prefix, queue, tonumber(capacity), microseconds, now)
    if not change then
        return redis.error_reply(why)
    end
    local failures = {}
    for slot = first, #operations, OPERATION_SLOTS do
        local place = (slot - first) / OPERATION_SLOTS + 1
        why = do_operation(change, operations[slot], operations[slot + 1], operations[slot + 2], operations[slot + 3], place)
        if why then
            failures[#failures + 1] = place
            failures[#failures + 1] = why
        end
    end
    local n
    why, n = end_change(change, client, call)
    if why then
        return redis.error_reply(why)
    end
    return {'ok', microseconds, tonumber(n), change.left, unpack(failures)}
end
