-- @include "lib/controls"
-- @include "lib/entry"
-- @include "lib/hand_over"

-- The most control entries that wait in an inbox; and how long, in milliseconds, the one that stands for further ones
-- is kept at least.
local MOST_CONTROLS = 1000
local DAY = 86400000

-- Tells the owner of an inbox, if there is one, that its members of a group changed. `header` is that of the entry, and
-- `left` how long it matters.
local function tell_owner(prefix, inbox, header, control, left, now)
    local owner = redis.pcall('HMGET', prefix .. 'i:' .. inbox, 'owner', 'controls')
    if not owner[1] then
        return
    end
    local queue = prefix .. 'q:' .. inbox
    local waiting = tonumber(owner[2] or 0)
    if waiting >= MOST_CONTROLS and redis.call('EXISTS', queue) == 0 then
        -- Those that were counted are gone.
        waiting = 0
    end
    if waiting > MOST_CONTROLS then
        return
    elseif waiting == MOST_CONTROLS then
        control = 'r'
        header = string.sub(header, 1, 10) .. entry_time(FAR_FUTURE)
        left = math.max(left, DAY)
    end
    local entry = header .. control
    local length = redis.pcall('RPUSH', queue, entry)
    if type(length) == 'number' then
        redis.call('HSET', prefix .. 'i:' .. inbox, 'controls', length == 1 and 1 or waiting + 1)
    end
    if length == 1 then
        redis.call('PEXPIRE', queue, left)
        hand_over(prefix, inbox, entry, now)
    elseif type(length) == 'number' then
        redis.call('PEXPIRE', queue, left, 'GT')
    end
end
