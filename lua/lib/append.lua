-- @include "lib/hand_over"
-- @include "lib/inbox_bytes"
-- @include "lib/key"
-- @include "lib/make_room"
-- @include "lib/no_right"

-- Adds entries to a queue after RPUSHX. `pushed` is what RPUSHX returned: 0 if the queue was empty and the entries are
-- still to be added, else the queue's length with them, or an error, which names in `command` what else gave it. Hands the
-- first entries to tickets that wait, and takes back the last ones for which there is no room. Returns how many of the last
-- were refused, and how many live messages wait, or -2 if their inbox has too many bytes, or the error.
local function append(prefix, queue_key, capacity, batch, pushed, expiry, now)
    if type(pushed) == 'table' then
        return #batch, refusal_of(pushed.command or 'RPUSHX', pushed.err, queue_key)
    end
    local queue = name_of(queue_key, prefix)
    local inbox = is_inbox(queue)
    local existed, length = pushed > 0, pushed
    local handed = 0
    if not existed then
        while not inbox and handed < #batch do
            local done, why = hand_over(prefix, queue, batch[handed + 1], now)
            if why then
                return #batch - handed, why
            elseif not done then
                break
            end
            handed = handed + 1
        end
        if handed == #batch then
            return 0
        end
        length = redis.pcall('RPUSH', queue_key, unpack(batch, handed + 1))
        if type(length) == 'table' then
            return #batch - handed, refusal_of('RPUSH', length.err, queue_key)
        end
        if inbox then
            -- The inbox was empty, so the control entries that were counted are gone.
            redis.pcall('HDEL', prefix .. 'i:' .. queue, 'controls', 'control_bytes')
        end
    end

    local refused, controls = 0, 0
    if length > capacity then
        local denied = refused_to_make_room(queue_key, prefix .. 'x:' .. queue)
        if denied then
            if denied == 'rpop' then
                redis.call('LTRIM', queue_key, '0', handed - #batch - 1)
            else
                redis.call('RPOP', queue_key, #batch - handed)
            end
            return #batch - handed, no_right(denied)
        end
        controls = inbox and waiting_controls(prefix, queue) or 0
        length = make_room(prefix, queue_key, length, capacity + controls, now)
        refused = math.max(0, math.min(length - controls - capacity, #batch - handed))
        if refused > 0 then
            redis.call('RPOP', queue_key, refused)
        end
    end
    local is_heavy = false
    if inbox and existed and refused < #batch then
        local beyond = beyond_bytes(prefix, queue, queue_key, length - refused, batch, #batch - refused)
        if beyond > 0 then
            redis.call('RPOP', queue_key, beyond)
            is_heavy, refused = true, refused + beyond
        end
    end
    if refused < #batch - handed then
        local kept = existed and redis.pcall('PEXPIRE', queue_key, expiry, 'GT') or not existed and redis.pcall('PEXPIRE', queue_key, expiry)
        if type(kept) == 'table' then
            redis.call('RPOP', queue_key, #batch - handed - refused)
            return #batch - handed, refusal_of('PEXPIRE', kept.err)
        end
    end
    if inbox and not existed and refused < #batch then
        local _, why = hand_over(prefix, queue, batch[1], now)
        if why then
            -- Its reader cannot be told. It was empty, and is so again: else nobody would be told of what comes later.
            redis.call('UNLINK', queue_key)
            return #batch, why
        end
    end
    return refused, is_heavy and -2 or length - refused - controls
end
