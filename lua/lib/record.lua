-- @include "lib/layout"

-- A ticket's record is a field of its client's hash. The ticket waits, or was handed an entry, or a batch of an inbox:
--   w<queues>                                the queues it waits for, separated by spaces
--   h<queues>\n<queue> <entry>               the queues in whose lines it may still stand, and what it was handed
--   b<inbox>\n<length> <controls> <id>       how many entries at the head of the inbox the batch spans, how many of
--                                            these are control entries, and the id of the last

local function waiting_record(queues)
    return 'w' .. queues
end

local function handed_record(queues, queue, entry)
    return 'h' .. queues .. '\n' .. queue .. ' ' .. entry
end

local function batch_record(inbox, length, controls, id)
    return 'b' .. inbox .. '\n' .. length .. ' ' .. controls .. ' ' .. id
end

-- Returns whether a record is one of these.
local function is_record(record)
    return string.find(record, '^[whb]') ~= nil
end

-- Returns the queues of a ticket that waits, or nil of any other ticket.
local function waits_for(record)
    if string.byte(record) == WAITS then
        return string.sub(record, 2)
    end
end

-- Returns the queues of a ticket that was handed an entry, the entry's queue, and the entry; nil of any other ticket.
local function was_handed(record)
    local line_end = string.find(record, '\n', 2, true)
    if string.byte(record) ~= WAS_HANDED or not line_end then
        return nil
    end
    local space = string.find(record, ' ', line_end, true)
    if not space then
        return nil
    end
    return string.sub(record, 2, line_end - 1), string.sub(record, line_end + 1, space - 1), string.sub(record, space + 1)
end

-- Returns the inbox of a ticket that was given a batch, the batch's length, how many of its entries are control entries,
-- and the id of its last entry; nil of any other ticket.
local function was_batch(record)
    local inbox, length, controls, id = string.match(record, '^b(%S+)\n(%d+) (%d+) (.*)$')
    return inbox, tonumber(length), tonumber(controls), id
end
