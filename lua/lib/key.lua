-- A key is the prefix, one letter for its kind, a colon, and a name: <prefix>q:<queue>.
local function kind_of(key, prefix)
    return string.sub(key, #prefix + 1, #prefix + 1)
end

local function name_of(key, prefix)
    return string.sub(key, #prefix + 3)
end
