-- Control entries stand in an inbox among its messages and tell its owner of its groups, by their kind:
--   +<group> <address>   joined; the deadline of the entry is that of the membership
--   =<group> <address>   joined, and the group had nobody here before
--   -<group> <address>   left
--   r                    so many of these wait that no more are written: read all memberships again
-- They do not count as messages; how many wait is a field of the inbox. Only its reader takes them out.
local CONTROLS = {[43] = true, [61] = true, [45] = true, [114] = true}

local function is_control(entry)
    return CONTROLS[string.byte(entry, 19)] or false
end

local function waiting_controls(prefix, inbox)
    local count = redis.pcall('HGET', prefix .. 'i:' .. inbox, 'controls')
    return type(count) == 'string' and tonumber(count) or 0
end

-- Control entries left an inbox.
local function forget_controls(prefix, inbox, count)
    local waiting = count > 0 and waiting_controls(prefix, inbox) or 0
    if waiting > 0 then
        redis.call('HSET', prefix .. 'i:' .. inbox, 'controls', math.max(0, waiting - count))
    end
end
