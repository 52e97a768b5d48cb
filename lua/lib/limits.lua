-- Lua can pass on some 8,000 values in one go; a larger call would fail halfway through its work.
local MOST_VALUES = 3500

local function refuse_too_large(keys, arguments)
    if keys > 2 * MOST_VALUES or arguments > MOST_VALUES then
        return redis.error_reply('ERR a call has at most ' .. 2 * MOST_VALUES .. ' keys and ' .. MOST_VALUES ..
            ' arguments, this one has ' .. keys .. ' and ' .. arguments .. ': make several')
    end
end
