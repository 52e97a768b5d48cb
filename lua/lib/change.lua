-- @include "lib/labels"
-- @include "lib/no_right"
-- @include "lib/write_control"

-- A change of the memberships of one queue: it joins, leaves and repairs members, and, of an inbox, numbers what it did and
-- tells it there in one entry. Its owner knows its groups by these entries alone.
--
-- `change` has: prefix, queue, capacity (of the queue), microseconds, now, and, of an inbox, state; it gathers parts (of the
-- entry) and left, how many were in that left.

-- So many memberships that have ended are removed with one that begins.
local PRUNED = '16'
-- Where a queue and a group meet for the first time, one addition in so many looks at twice as many others, chosen at
-- random. So no more than half of what is there has ended, and most additions pay nothing for it.
local EVERY, LOOKED_AT = 8, '-16'
-- A row of an inbox lasts a sixteenth longer than asked, unless that is short, so that the next joins find it right.
local SLACK, SHORT = 16, 60000
-- A row that is older, in ms, is written anew while the owner of its inbox is not known: see RETURNS_WITHIN of group_send.
local FRESH = 30000
-- The most control entries, and bytes of them, that wait in an inbox: then further changes of others are not told.
local MAX_CONTROLS, MAX_CONTROL_BYTES = 10000, 16777216

-- Begins a change. Returns it, or nil and an error if a key of the inbox is another program's.
local function begin_change(prefix, queue, capacity, microseconds, now)
    local change = {
        prefix = prefix, queue = queue, capacity = capacity, microseconds = microseconds, now = now, parts = {}, left = 0,
    }
    if is_inbox(queue) then
        local length = redis.pcall('LLEN', prefix .. 'q:' .. queue)
        if type(length) == 'table' then
            return nil, said_of(length.err, prefix .. 'q:' .. queue)
        end
        local state, why = inbox_state(prefix .. 'i:' .. queue)
        if not state then
            return nil, why
        end
        if length == 0 then
            state[WAITING], state[BYTES] = '0', '0'
        end
        change.state = state
    end
    return change
end

-- Removes groups in which the queue has no member any more.
local function forget_ended_groups(change)
    local names, keys = redis.call('ZRANDMEMBER', groups_key(change.prefix, change.queue), LOOKED_AT), {}
    for number, name in ipairs(names) do
        keys[number] = members_key(change.prefix, name, change.queue)
    end
    if #names == 0 or redis.call('EXISTS', unpack(keys)) == #names then
        return
    end
    for number, name in ipairs(names) do
        if redis.call('EXISTS', keys[number]) == 0 then
            remove_queue(change.prefix, name, change.queue)
        end
    end
end

-- Removes queues that have no member in a group any more.
local function forget_ended_queues(change, group)
    local queues = redis.call('ZRANDMEMBER', index_key(change.prefix, group), LOOKED_AT)
    local rows = #queues > 0 and redis.call('HMGET', rows_key(change.prefix, group), unpack(queues)) or {}
    for number, text in ipairs(rows) do
        local deadline = read_row(text or nil)
        if not deadline or deadline <= change.now then
            remove_queue(change.prefix, group, queues[number])
        end
    end
end

-- Reads the row of a group, unless it is that of the member before. Returns an error.
local function look_at_row(change, group)
    if change.group == group then
        return nil
    end
    local bytes = redis.pcall('HGET', rows_key(change.prefix, group), change.queue)
    if type(bytes) == 'table' then
        return said_of(bytes.err, rows_key(change.prefix, group))
    end
    local deadline, capacity, added = read_row(bytes or nil)
    if deadline and deadline > 2 * FAR_FUTURE then
        -- No script wrote this: what lasts so long could not be said to the server.
        deadline = nil
    end
    change.group = group
    change.row_deadline, change.row_capacity, change.row_added = deadline or 0, capacity, added or 0
end

-- Whether the keys of a group are right for a member that stays until `deadline`, and last long enough.
local function has_keys_for(change, deadline)
    local is_known = change.state and change.state[OWNER]
    return change.state and change.row_deadline >= deadline and change.row_capacity == change.capacity
        and (is_known or change.row_added + FRESH > change.now)
end

-- Puts the keys of a group right around a member that stays for `left` ms. Returns an error.
local function put_keys_right(change, group, deadline, left, place)
    local prefix, queue, now = change.prefix, change.queue, change.now
    if change.state and left > SHORT then
        left = left + math.floor(left / SLACK)
        deadline = now + left
    end
    -- A queue of one channel has no other member that may stay longer.
    if change.state then
        deadline = math.max(deadline, change.row_deadline)
        -- The row vouches for all keys of the group, of which some may be new.
        left = deadline - now
    end
    local memberships_key, queues_key, rows = groups_key(prefix, queue), index_key(prefix, group), rows_key(prefix, group)
    -- Each is given its end at once, should the next be of another's making; the index comes last.
    local is_new_group = redis.pcall('ZADD', memberships_key, '0', group)
    if type(is_new_group) == 'table' then
        return said_of(is_new_group.err, memberships_key)
    end
    keep_key(memberships_key, left)
    redis.call('HSET', rows, queue, row(deadline, change.capacity, now))
    keep_key(rows, left)
    local is_new_queue = redis.pcall('ZADD', queues_key, '0', queue)
    if type(is_new_queue) == 'table' then
        return said_of(is_new_queue.err, queues_key)
    end
    keep_key(queues_key, left)
    keep_key(members_key(prefix, group, queue), left)
    change.row_deadline, change.row_capacity, change.row_added = deadline, change.capacity, now
    if (change.microseconds + place) % EVERY == 0 then
        if is_new_group == 1 then
            forget_ended_groups(change)
        end
        if is_new_queue == 1 then
            forget_ended_queues(change, group)
        end
    end
end

-- Removes members whose membership has ended.
local function prune_members(change, group, key)
    local ended = redis.call('ZRANGE', key, '-inf', change.now, 'BYSCORE', 'LIMIT', '0', PRUNED)
    if #ended > 0 then
        redis.call('ZREM', key, unpack(ended))
        redis.pcall('HDEL', labels_key(change.prefix, group, change.queue), unpack(ended))
    end
end

-- Gives a member a label, for the membership that ends at `deadline`. Returns an error.
local function put_label(change, group, address, deadline, label)
    local key = labels_key(change.prefix, group, change.queue)
    local put = redis.pcall('HSET', key, address, string.format('%.0f', deadline) .. ' ' .. label)
    if type(put) == 'table' then
        return said_of(put.err, key)
    end
    keep_key(key, deadline - change.now)
    change.has_labels = true
end

-- Makes an address a member until `deadline`. `trusts_row`: the row is right, if it says so. Returns an error; then the
-- address is no member by this. Else returns nil, and whether the membership had another end, or none.
local function join(change, group, address, deadline, trusts_row, place)
    local why = look_at_row(change, group)
    if why then
        return why
    end
    local key, left = members_key(change.prefix, group, change.queue), deadline - change.now
    local has_keys = trusts_row and has_keys_for(change, deadline)
    local before = not has_keys and redis.pcall('ZSCORE', key, address)
    local joined = redis.pcall('ZADD', key, 'CH', deadline, address)
    if type(joined) == 'table' then
        return said_of(joined.err, key)
    end
    -- A key that had no end is new: the row outlived members that were lost.
    if not has_keys or redis.call('PEXPIRE', key, left, 'NX') == 1 then
        why = put_keys_right(change, group, deadline, left, place)
        if why then
            change.group = nil
            if before then
                redis.call('ZADD', key, before, address)
            else
                redis.call('ZREM', key, address)
            end
            if redis.call('EXISTS', key) == 0 then
                remove_queue(change.prefix, group, change.queue)
            end
            return why
        end
    end
    if not has_keys or (change.microseconds + place) % EVERY == 0 then
        prune_members(change, group, key)
    end
    return nil, joined == 1
end

-- Makes an address a member for `left` ms, with a label or without. Returns an error; then nothing was done.
local function join_as(change, group, address, left, label, place)
    local key = labels_key(change.prefix, group, change.queue)
    if label then
        -- Found before anything is done: the key may be another program's.
        local known = redis.pcall('HEXISTS', key, address)
        if type(known) == 'table' then
            return said_of(known.err, key)
        end
    end
    local deadline = change.now + left
    local why, is_new_end = join(change, group, address, deadline, true, place)
    if why then
        return why
    elseif label then
        return put_label(change, group, address, deadline, label)
    elseif not is_new_end then
        -- It joined in this very millisecond before, perhaps with a label, which would count on.
        redis.pcall('HDEL', key, address)
    end
end

-- Takes an address out of a group. Returns an error.
local function leave(change, group, address)
    local key = members_key(change.prefix, group, change.queue)
    local deadline = redis.pcall('ZSCORE', key, address)
    if type(deadline) == 'table' then
        return said_of(deadline.err, key)
    end
    if deadline then
        redis.call('ZREM', key, address)
        if tonumber(deadline) > change.now then
            change.left = change.left + 1
        end
    end
    -- One call tells which of two keys are there: the members' counts twice.
    local labels = labels_key(change.prefix, group, change.queue)
    local found = redis.call('EXISTS', key, key, labels)
    if found < 2 then
        change.group = nil
        remove_queue(change.prefix, group, change.queue)
    elseif found == 3 then
        redis.pcall('HDEL', labels, address)
    end
end

-- Numbers what was done, and tells it in the inbox. Returns an error and the number.
local function end_change(change, client, call)
    local state = change.state
    if not state then
        return nil, 0
    end
    local n = string.format('%.0f', (tonumber(state[N] or nil) or 0) + 1)
    local tag = client .. ':' .. call
    local fields = {'n', n, 'by', tag}
    if change.has_labels and not state[HAS_LABELS] then
        fields[5], fields[6] = 'has_labels', 1
    end
    local body = 'c' .. n .. ' ' .. tag
    if #change.parts > 0 then
        body = body .. ' ' .. table.concat(change.parts, ' ')
    end
    if client == '' or client ~= state[OWNER] then
        local is_much = tonumber(state[WAITING] or nil) or 0
        is_much = is_much >= MAX_CONTROLS or (tonumber(state[BYTES] or nil) or 0) >= MAX_CONTROL_BYTES
        if state[IS_QUIET] then
            redis.call('HSET', change.prefix .. 'i:' .. change.queue, unpack(fields))
            return nil, n
        elseif is_much then
            body = 'r'
            fields[#fields + 1], fields[#fields + 2] = 'quiet', 1
        end
    end
    return write_control(change.prefix, change.queue, state, body, change.microseconds, change.now, fields), n
end
