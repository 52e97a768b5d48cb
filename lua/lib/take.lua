-- @include "lib/entry"
-- @include "lib/key"
-- @include "lib/no_right"

local expired_met = 0

-- Takes the next live entry of some queues: first one that was given back, else the head of the first queue that has
-- one. Drops the expired entries that it meets. Returns the queue and the entry; nil if all queues are empty; '' and the
-- error if a key belongs to another program; false if it has dropped as many as one call may, so others may stand there still.
local function take(prefix, queues, now)
    local pop_lists, pop_given_back = {#queues}, {#queues}
    for i, queue in ipairs(queues) do
        pop_lists[i + 1] = prefix .. 'q:' .. queue
        pop_given_back[i + 1] = prefix .. 'b:' .. queue
    end
    pop_lists[#queues + 2] = 'LEFT'
    pop_given_back[#queues + 2] = 'MIN'
    while expired_met < MAX_EXPIRED do
        local found, command = redis.pcall('ZMPOP', unpack(pop_given_back)), 'ZMPOP'
        local entry
        if not found then
            found, command = redis.pcall('LMPOP', unpack(pop_lists)), 'LMPOP'
            entry = found and found[2] and found[2][1]
        else
            entry = found[2] and found[2][1][1]
        end
        if not found then
            return nil
        elseif found.err then
            local keys, length = pop_lists, 'LLEN'
            if command == 'ZMPOP' then
                keys, length = pop_given_back, 'ZCARD'
            end
            local place = 2
            while place <= #queues and type(redis.pcall(length, keys[place])) == 'number' do
                place = place + 1
            end
            return '', refusal_of(command, found.err, keys[place])
        end
        if entry_deadline(entry) > now then
            return name_of(found[1], prefix), entry
        end
        expired_met = expired_met + 1
    end
    return false
end
