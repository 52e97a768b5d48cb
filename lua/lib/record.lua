-- A ticket's record, a field of its client's hash. Either it waits, or it was handed an entry:
--   w<queues>                       the queues it waits for, separated by spaces
--   h<queues>\n<queue> <entry>      the queues in whose lines it may still stand, and what it was handed
local function waiting_record(queues)
    return 'w' .. queues
end

local function handed_record(queues, queue, entry)
    return 'h' .. queues .. '\n' .. queue .. ' ' .. entry
end

-- The queues of a ticket that waits; nil of any other.
local function waits_for(record)
    if string.byte(record) == 119 then
        return string.sub(record, 2)
    end
end

-- What a ticket was handed: its queues, the queue and the entry; nil of one that waits.
local function was_handed(record)
    local line_end = string.find(record, '\n', 2, true)
    if string.byte(record) ~= 104 or not line_end then
        return nil
    end
    local space = string.find(record, ' ', line_end, true)
    return string.sub(record, 2, line_end - 1), string.sub(record, line_end + 1, space - 1), string.sub(record, space + 1)
end
