-- @include "lib/groups"
-- @include "lib/page"

-- So many members and queues a step looks at.
local ENOUGH = 1000
local PAGE = 100

-- Visits some of the members of a group, from a queue and a cursor on: `visit` gets a queue with addresses in it, and the ends of
-- their memberships as text. Returns where the next step begins, '' and '0' after the last one.
local function list_members(prefix, group, queue, cursor, now, visit)
    local visited = 0

    -- Visits the members of a queue until enough were visited. Returns the cursor at which it stopped, "0" at the end.
    local function list(name, from)
        repeat
            local step = redis.call('ZSCAN', members_key(prefix, group, name), from, 'COUNT', ENOUGH)
            from = step[1]
            visited = visited + #step[2] / 2
            local addresses, ends = {}, {}
            for i = 1, #step[2], 2 do
                if tonumber(step[2][i + 1]) > now then
                    addresses[#addresses + 1] = step[2][i]
                    ends[#ends + 1] = step[2][i + 1]
                end
            end
            visit(name, addresses, ends)
        until from == '0' or visited >= ENOUGH
        return from
    end

    if cursor ~= '0' then
        cursor = list(queue, cursor)
    end
    while cursor == '0' and visited < ENOUGH do
        local names, more = page_of(index_key(prefix, group), queue, PAGE)
        for _, name in ipairs(names) do
            queue = name
            visited = visited + 1
            if is_alive(prefix, name, now) then
                cursor = list(name, '0')
            end
            if cursor ~= '0' or visited >= ENOUGH then
                return queue, cursor
            end
        end
        if more == '' then
            return '', '0'
        end
    end
    return queue, cursor
end
