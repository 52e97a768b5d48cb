-- The next names, in order, of a set whose scores are all 0, and the cursor of the page after them, which is empty
-- after the last. Who is in the set all the while is met once.
local function page_of(key, cursor, most)
    local names = redis.call('ZRANGE', key, cursor == '' and '-' or '(' .. cursor, '+', 'BYLEX', 'LIMIT', '0', most + 1)
    -- One more than asked for tells whether there is another page.
    if #names <= most then
        return names, ''
    end
    names[most + 1] = nil
    return names, names[most]
end
