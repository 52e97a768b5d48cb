#!lua flags=allow-oom
-- Lists the queues in which something waits, or for which receives wait, and counts the groups, of one step of a scan. A queue
-- may be listed in parts.
-- reply: {cursor, groups, queue, entries, live, waiting, ...}   the next step's cursor, "0" after the last one; how many groups
--   this step found; then queues, each with how many entries this step found in it, how many of these are messages that have not
--   expired, and how many receives wait for it
local schema_key = KEYS[1] -- [string]                 <prefix>schema, which tells where to run
local prefix     = ARGV[1] -- [prefix]                 of every key
local cursor     = ARGV[2] -- [int 0..999999999999999] "0" at first, then what the step before returned
local count      = ARGV[3] -- [int 1..1000000]         about how many keys to look at
-- @include "lib/clock"
-- @include "lib/controls"
-- @include "lib/entry"
-- @include "lib/inbox"
-- @include "lib/key"
-- @include "lib/pattern"

-- So many entries, of so many bytes, are looked at one by one in a step; and so many tickets.
local left_entries, left_bytes, left_tickets = 5000, 1048576, 1000
local READ_STEP = 16
local _, now = clock()

-- Returns from which place on the entries of a list are live, as far as they expire in their order.
local function first_live(list_key, from, length)
    local after = length
    while from < after do
        local middle = math.floor((from + after) / 2)
        local entry = redis.call('LINDEX', list_key, middle)
        if entry and entry_deadline(entry) <= now then
            from = middle + 1
        else
            after = middle
        end
    end
    return from
end

-- Returns how many entries of a list, or of a sorted set, are live messages. Of more than a step looks at, those behind are taken to
-- expire in their order, and control entries are as many as the inbox counts.
local function count_live(key, range_command, length, inbox)
    local live, seen, controls = 0, 0, 0
    while seen < length and left_entries > 0 and left_bytes > 0 do
        local entries = redis.call(range_command, key, seen, seen + READ_STEP - 1)
        for _, entry in ipairs(entries) do
            if inbox and is_control(entry) then
                controls = controls + 1
            elseif entry_deadline(entry) > now then
                live = live + 1
            end
            left_bytes = left_bytes - #entry
        end
        seen = seen + READ_STEP
        left_entries = left_entries - READ_STEP
    end
    if seen < length then
        live = live + length - (range_command == 'LRANGE' and first_live(key, seen, length) or seen)
        if inbox then
            live = math.max(0, live - math.max(0, waiting_controls(prefix, inbox) - controls))
        end
    end
    return live
end

-- Returns how many tickets of a line are of clients whose lease has not ended. Those behind the first ones all count.
local leases = {}
local function waiting_in(line_key, tickets)
    local waiting, seen = 0, 0
    if left_tickets > 0 then
        for _, waiter in ipairs(redis.call('ZRANGE', line_key, 0, left_tickets - 1)) do
            local client = string.match(waiter, '^(%S+) %d+$') or ''
            if leases[client] == nil then
                local lease = redis.pcall('HGET', prefix .. 'c:' .. client, 'lease')
                leases[client] = (tonumber(type(lease) == 'string' and lease or nil) or 0) > now
            end
            waiting = waiting + (leases[client] and 1 or 0)
            seen = seen + 1
        end
        left_tickets = left_tickets - seen
    end
    return waiting + tickets - seen
end

local step = redis.call('SCAN', cursor, 'MATCH', pattern_of(prefix) .. '[qbogw]:*', 'COUNT', count)
local length_command = {q = 'LLEN', b = 'ZCARD', o = 'LLEN', w = 'ZCARD'}
local groups = 0
local reply = {step[1], 0}
for _, key in ipairs(step[2]) do
    local kind, name = kind_of(key, prefix), name_of(key, prefix)
    if is_name(name) then
        if kind == 'g' then
            groups = groups + 1
        else
            local entries = redis.pcall(length_command[kind], key)
            if type(entries) == 'number' and entries > 0 then
                local live, waiting = entries, 0
                if kind == 'q' then
                    live = count_live(key, 'LRANGE', entries, is_inbox(name) and name)
                elseif kind == 'b' then
                    live = count_live(key, 'ZRANGE', entries, nil)
                elseif kind == 'o' then
                    -- The first element of the list that a drain keeps aside is no entry.
                    entries = entries - 1
                    live = entries
                elseif kind == 'w' then
                    waiting = waiting_in(key, entries)
                    entries, live = 0, 0
                end
                if entries + waiting > 0 then
                    local place = #reply
                    reply[place + 1], reply[place + 2], reply[place + 3], reply[place + 4] = name, entries, live, waiting
                end
            end
        end
    end
end
reply[2] = groups
return reply
