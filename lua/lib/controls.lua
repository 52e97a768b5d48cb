-- Control entries stand in an inbox among its messages, and tell its owner of its groups. The kind is the first byte of
-- the body, and the parts behind it stand side by side, with a space between two:
--   c<n> <tag> <part> ...   a change: +<group> <address> <end>   joined, until then
--                                     ...... =<label>            and has this label, if its owner reads labels; so also of ~
--                                     -<group> <address>         left
--                                     ~<group> <address> <end>   repaired: is in until then; with end 0 is out
--                                     *<address>                 left all groups
--                                     e                          the owner begins to count anew from here
--   k<n> <tag> <call>       the owner, in this call, was not sure of n and tag, or they are not those of the server
--   w<n> <tag> <call> ...   a page of the memberships, as `inbox_page` writes it
--   r                       further changes are not told, because so many wait
--   f                       all groups of all inboxes were removed
-- n counts the changes of the inbox. The tag tells who made one: <client>:<call>, or only the colon.
-- They do not count as messages; how many wait, and their bytes, are fields of the inbox. Only its reader takes them out.
local CONTROLS = {[99] = true, [107] = true, [119] = true, [114] = true, [102] = true}

local function is_control(entry)
    return CONTROLS[string.byte(entry, 19)] or false
end

local function waiting_controls(prefix, inbox)
    local count = redis.pcall('HGET', prefix .. 'i:' .. inbox, 'controls')
    return type(count) == 'string' and tonumber(count) or 0
end

-- Control entries left an inbox. Their bytes are taken to be as many as those of the others.
local function forget_controls(prefix, inbox, count)
    if count == 0 then
        return
    end
    local inbox_key = prefix .. 'i:' .. inbox
    local counts = redis.pcall('HMGET', inbox_key, 'controls', 'control_bytes')
    local waiting = tonumber(counts[1] or nil) or 0
    if waiting > 0 then
        local left = math.max(0, waiting - count)
        local bytes = math.floor((tonumber(counts[2] or nil) or 0) * left / waiting)
        redis.call('HSET', inbox_key, 'controls', left, 'control_bytes', bytes)
    end
end
