-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/inbox"

-- How much is looked through at once: a script may not run for long.
local SWEEP_ENTRIES = 1000
local SWEEP_BYTES = 1048576
local SWEEP_STEP = 16
-- Milliseconds after which at the latest it is worth another look.
local SWEEP_PAUSE = 1000

-- The expired entries that stand behind live ones, as they do where senders' expiries differ. Looks again only
-- when the next of those it saw has expired, and when a second has passed, so a full queue costs little.
local function expired_behind(prefix, queue, length, now)
    local swept = prefix .. 'x:' .. string.sub(queue, #prefix + 3)
    local expired, pause = {}, SWEEP_PAUSE
    local inbox = is_inbox(queue)
    if not redis.call('SET', swept, '', 'NX', 'PX', SWEEP_PAUSE) then
        return expired
    end
    local seen, bytes = 0, 0
    while seen < length and seen < SWEEP_ENTRIES and bytes < SWEEP_BYTES do
        for _, entry in ipairs(redis.call('LRANGE', queue, seen, seen + SWEEP_STEP - 1)) do
            if not inbox or not is_control(entry) then
                local left = entry_deadline(entry) - now
                if left <= 0 then
                    expired[#expired + 1] = entry
                else
                    pause = math.min(pause, left)
                end
            end
            bytes = bytes + #entry
        end
        seen = seen + SWEEP_STEP
    end
    redis.call('PEXPIRE', swept, pause)
    return expired
end

-- Makes room in a queue by removing expired messages. Returns how many entries stay.
local function make_room(prefix, queue, length, capacity, now)
    while length > capacity do
        local head = redis.call('LINDEX', queue, 0)
        if not head then
            return 0
        elseif entry_deadline(head) > now or is_inbox(queue) and is_control(head) then
            break
        end
        redis.call('LPOP', queue)
        length = length - 1
    end
    if length > capacity then
        for _, entry in ipairs(expired_behind(prefix, queue, length, now)) do
            redis.call('LREM', queue, 1, entry)
            length = length - 1
        end
    end
    return length
end
