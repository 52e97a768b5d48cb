-- @include "lib/hand_over"
-- @include "lib/make_room"

-- Adds entries to a queue after RPUSHX: `length` is what it said, 0 when the queue was empty and they are still to be
-- added, else its length with them. Hands the first ones to who waits, and takes back the last ones for which there is
-- no room. Returns how many of the last were refused, and how many live messages wait or what failed.
local function append(prefix, queue, capacity, batch, length, expiry, now)
    if type(length) == 'table' then
        return #batch, length.err
    end
    local name = string.sub(queue, #prefix + 3)
    local inbox = is_inbox(name)
    local existed = length > 0
    local handed = 0
    if not existed then
        while not inbox and handed < #batch and hand_over(prefix, name, batch[handed + 1], now) do
            handed = handed + 1
        end
        if handed == #batch then
            return 0
        end
        length = redis.call('RPUSH', queue, unpack(batch, handed + 1))
        if inbox then
            -- It was empty: those that were counted are gone.
            redis.pcall('HDEL', prefix .. 'i:' .. name, 'controls')
        end
    end

    local refused, controls = 0, 0
    if length > capacity then
        controls = inbox and waiting_controls(prefix, name) or 0
        length = make_room(prefix, queue, length, capacity + controls, now)
        refused = math.max(0, math.min(length - controls - capacity, #batch - handed))
        if refused > 0 then
            redis.call('RPOP', queue, refused)
        end
    end
    if refused < #batch - handed then
        if existed then
            redis.call('PEXPIRE', queue, expiry, 'GT')
        else
            redis.call('PEXPIRE', queue, expiry)
        end
    end
    if inbox and not existed and refused < #batch then
        hand_over(prefix, name, batch[1], now)
    end
    return refused, length - refused - controls
end
