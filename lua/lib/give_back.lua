-- @include "lib/entry"
-- @include "lib/hand_over"

-- Gives an entry that a ticket was handed and did not deliver to the next ticket that waits, else back to its place in
-- the queue.
local function give_back(prefix, queue, entry, now)
    local left = entry_deadline(entry) - now
    if left <= 0 or hand_over(prefix, queue, entry, now) then
        return
    end
    local given_back_key = prefix .. 'b:' .. queue
    -- All have one score: equal scores sort by their bytes, and these begin with the id.
    local added = redis.pcall('ZADD', given_back_key, 0, entry)
    if type(added) == 'table' then
        -- The key belongs to another program. Then the entry goes to the end of the queue: out of order, but not lost.
        redis.pcall('RPUSH', prefix .. 'q:' .. queue, entry)
    elseif redis.call('PEXPIRE', given_back_key, left, 'NX') == 0 then
        redis.call('PEXPIRE', given_back_key, left, 'GT')
    end
end
