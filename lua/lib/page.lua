-- Returns the next names, in order, of a sorted set whose scores are all 0, and the cursor of the page after them, which
-- is empty after the last page. A name that is in the set during all pages is returned once.
local function page_of(key, cursor, max_names)
    local start = cursor == '' and '-' or '(' .. cursor
    -- One name more than asked for tells whether there is another page.
    local names = redis.call('ZRANGE', key, start, '+', 'BYLEX', 'LIMIT', '0', max_names + 1)
    if #names <= max_names then
        return names, ''
    end
    names[max_names + 1] = nil
    return names, names[max_names]
end
