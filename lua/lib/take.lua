-- @include "lib/entry"

-- Takes the next live entry of some queues: first one that was given back, else the head of the first queue that
-- has one. Returns the queue's name and the entry; nil when all are empty; '' and the error when a key is not ours.
-- Expired entries that it meets are dropped.
local function take(prefix, names, now)
    local start = #prefix + 3
    local lists, given_back = {#names}, {#names}
    for i, name in ipairs(names) do
        lists[i + 1] = prefix .. 'q:' .. name
        given_back[i + 1] = prefix .. 'b:' .. name
    end
    lists[#names + 2] = 'LEFT'
    given_back[#names + 2] = 'MIN'
    while true do
        local found = redis.pcall('ZMPOP', unpack(given_back))
        local entry
        if not found then
            found = redis.pcall('LMPOP', unpack(lists))
            entry = found and found[2] and found[2][1]
        else
            entry = found[2] and found[2][1][1]
        end
        if not found then
            return nil
        elseif found.err then
            return '', found.err
        end
        if entry_deadline(entry) > now then
            return string.sub(found[1], start), entry
        end
    end
end
