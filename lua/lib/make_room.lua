-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/inbox"
-- @include "lib/key"

-- How much of a queue is searched at once: a script may not run for long.
local MAX_SWEEP_ENTRIES = 1000
local MAX_SWEEP_BYTES = 1048576
local SWEEP_STEP = 16
-- Milliseconds after which at the latest the queue is searched again.
local MAX_SWEEP_PAUSE = 1000

-- Returns the command to which the user who calls has no right, of those that make room or take back what has none.
local function refused_to_make_room(queue_key, swept_key)
    return not redis.acl_check_cmd('RPOP', queue_key) and 'rpop'
        or not redis.acl_check_cmd('LINDEX', queue_key, '0') and 'lindex'
        or not redis.acl_check_cmd('LPOP', queue_key) and 'lpop'
        or not redis.acl_check_cmd('SET', swept_key, '') and 'set'
        or not redis.acl_check_cmd('LRANGE', queue_key, '0', '0') and 'lrange'
        or not redis.acl_check_cmd('LREM', queue_key, '1', 'v') and 'lrem'
        or not redis.acl_check_cmd('PEXPIRE', queue_key, '1') and 'pexpire'
end

-- Returns the expired entries that stand behind live ones, as they do where senders' expiries differ. Searches again
-- only when the next of the entries that it saw has expired, or when a second has passed, so a full queue costs little.
local function expired_behind(prefix, queue_key, length, now)
    local queue = name_of(queue_key, prefix)
    local swept_key = prefix .. 'x:' .. queue
    local expired, pause = {}, MAX_SWEEP_PAUSE
    local inbox = is_inbox(queue)
    if not redis.call('SET', swept_key, '', 'NX', 'PX', MAX_SWEEP_PAUSE) then
        return expired
    end
    local seen, bytes = 0, 0
    while seen < length and seen < MAX_SWEEP_ENTRIES and bytes < MAX_SWEEP_BYTES do
        for _, entry in ipairs(redis.call('LRANGE', queue_key, seen, seen + SWEEP_STEP - 1)) do
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
    redis.call('PEXPIRE', swept_key, pause)
    return expired
end

-- Makes room in a queue by removing expired messages. Returns how many entries stay.
local function make_room(prefix, queue_key, length, capacity, now)
    local dropped = 0
    while length > capacity and dropped < MAX_SWEEP_ENTRIES do
        local head = redis.call('LINDEX', queue_key, 0)
        if not head then
            return 0
        elseif entry_deadline(head) > now or is_inbox(queue_key) and is_control(head) then
            break
        end
        redis.call('LPOP', queue_key)
        length, dropped = length - 1, dropped + 1
    end
    if length > capacity then
        for _, entry in ipairs(expired_behind(prefix, queue_key, length, now)) do
            redis.call('LREM', queue_key, 1, entry)
            length = length - 1
        end
    end
    return length
end
