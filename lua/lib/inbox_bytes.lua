-- @include "lib/layout"

-- Of an inbox not only the messages are bounded, but also the bytes.
-- The least that an owner may set, and what an inbox may have whose owner has set nothing.
local LEAST_BYTES, DEFAULT_BYTES = 1048576, 67108864

-- Returns for how many of the last entries of an inbox its bytes have no room. They are the first `count` of a
-- batch that was just added. One entry has room in an inbox that holds no other.
local function beyond_bytes(prefix, inbox, queue_key, length, batch, count)
    local largest = 0
    for place = 1, count do
        largest = math.max(largest, #batch[place])
    end
    if largest <= SMALL_ENTRY then
        return 0
    end
    -- For users without this right, and on servers without the command, the messages alone are bounded.
    if not redis.acl_check_cmd('MEMORY', 'USAGE', queue_key) then
        return 0
    end
    -- A count of all, not of a sample: it walks the list's nodes, of some kilobytes each.
    local bytes = redis.pcall('MEMORY', 'USAGE', queue_key, 'SAMPLES', '0')
    if type(bytes) ~= 'number' or bytes <= LEAST_BYTES then
        return 0
    end
    local set = redis.pcall('HGET', prefix .. 'i:' .. inbox, 'bytes')
    local room = tonumber(type(set) == 'string' and set or nil) or DEFAULT_BYTES
    local refused = 0
    while bytes > room and refused < count and refused < length - 1 do
        bytes = bytes - #batch[count - refused]
        refused = refused + 1
    end
    return refused
end
