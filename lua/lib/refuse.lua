-- Returns the error for an argument that is not what is due, without what would break its line.
local function refuse(script, place, given, due)
    given = string.gsub(given or 'nothing', '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR ' .. script .. ': ' .. place .. ': "' .. given .. '" is not ' .. due)
end
