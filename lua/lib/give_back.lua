-- @include "lib/entry"
-- @include "lib/hand_over"

-- Gives an entry, that a ticket was handed and did not deliver, to the next ticket that waits, else back to its
-- place in the queue.
local function give_back(prefix, queue, entry, now)
    local left = entry_deadline(entry) - now
    if left <= 0 then
        return
    end
    -- Whatever stands in the place of the line, the entry must not be lost.
    local told, handed = pcall(hand_over, prefix, queue, entry, now)
    if told and handed then
        return
    end
    local key = prefix .. 'b:' .. queue
    local new = redis.call('EXISTS', key) == 0
    -- All have one score: equal scores sort by their bytes, and these begin with the id.
    local added = redis.pcall('ZADD', key, 0, entry)
    if type(added) == 'table' then
        return
    end
    if new then
        redis.call('PEXPIRE', key, left)
    else
        redis.call('PEXPIRE', key, left, 'GT')
    end
end
