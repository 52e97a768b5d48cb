-- @include "lib/entry"
-- @include "lib/groups"
-- @include "lib/tell_owner"

-- Takes a member out of a group; returns whether it was in. `quietly`: the owner of its inbox knows already.
local function remove_member(prefix, group, queue, address, quietly, microseconds, place, now)
    local key = members_key(prefix, group, queue)
    local deadline = tonumber(redis.call('ZSCORE', key, address) or nil)
    if deadline then
        redis.call('ZREM', key, address)
    end
    if redis.call('EXISTS', key) == 0 then
        remove_queue(prefix, group, queue)
    end
    if not deadline or deadline <= now then
        return false
    end
    if is_inbox(queue) and not quietly then
        local header = entry_time(microseconds) .. entry_place(place) .. entry_time(deadline)
        tell_owner(prefix, queue, header, '-' .. group .. ' ' .. address, deadline - now, now)
    end
    return true
end
