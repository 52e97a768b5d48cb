-- @include "lib/entry"
-- @include "lib/hand_over"

-- Gives an entry, that a ticket was handed and did not deliver, to the next ticket that waits, else back to its
-- place in the queue.
local function give_back(prefix, queue, entry, now)
    local left = entry_deadline(entry) - now
    if left <= 0 or hand_over(prefix, queue, entry, now) then
        return
    end
    local key = prefix .. 'b:' .. queue
    -- All have one score: equal scores sort by their bytes, and these begin with the id.
    local added = redis.pcall('ZADD', key, 0, entry)
    if type(added) == 'table' then
        -- A key of another's making stands there: better out of order than lost.
        redis.pcall('RPUSH', prefix .. 'q:' .. queue, entry)
    elseif redis.call('PEXPIRE', key, left, 'NX') == 0 then
        redis.call('PEXPIRE', key, left, 'GT')
    end
end
