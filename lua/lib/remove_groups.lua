-- @include "lib/groups"
-- @include "lib/page"

-- Takes a queue out of some of its groups, at most so many. Returns of how many, and whether there are more.
local function remove_groups(prefix, queue, max_groups)
    local groups, more = page_of(groups_key(prefix, queue), '', max_groups)
    for _, group in ipairs(groups) do
        remove_queue(prefix, group, queue)
    end
    return #groups, more ~= ''
end
