-- @include "lib/groups"

-- A member may have a label, such as the id of a user, which is a field of a hash beside the members: `<end> <label>`. It counts
-- while its membership has that end. So a join without a label needs no call to take one away, and whoever changes ends and
-- knows no labels leaves none behind that is wrong.

-- So many bytes a label may have, as the server sees it: hidden ones are longer than they were.
local MAX_LABEL = 512
-- So many arguments a call may have; Lua takes some thousands.
local AT_ONCE = 1000

-- Returns the label in a field of the hash, if it belongs to a membership that ends then.
local function label_of(field, deadline)
    local given_for, label = string.match(field or '', '^(%d+) (%S+)$')
    if given_for == deadline then
        return label
    end
end

-- Returns the labels of some addresses of a queue, false where there is none, by their place among them. `ends` are the ends of
-- their memberships, as text.
local function labels_of(prefix, group, queue, addresses, ends)
    local labels = {}
    for first = 1, #addresses, AT_ONCE do
        local last = math.min(first + AT_ONCE - 1, #addresses)
        local fields = redis.pcall('HMGET', labels_key(prefix, group, queue), unpack(addresses, first, last))
        for number = first, last do
            -- Where another program has the key there is no label.
            labels[number] = label_of(fields[number - first + 1], ends[number]) or false
        end
    end
    return labels
end
