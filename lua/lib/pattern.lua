-- Returns a prefix as part of a pattern that matches only the prefix itself.
local function pattern_of(prefix)
    return (string.gsub(prefix, '[%*%?%[%]%\\%^%-]', '\\%0'))
end

-- Returns whether the end of a key is a name. A key of a layer whose prefix is longer matches the pattern too, but what
-- follows the kind there has a colon in it, and no name has one.
local function is_name(name)
    return not string.find(name, ':', 1, true)
end
