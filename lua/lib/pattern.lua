-- A prefix as part of a pattern, in which it means itself.
local function pattern_of(prefix)
    return (string.gsub(prefix, '[%*%?%[%]%\\%^%-]', '\\%0'))
end

-- The keys of a layer with a longer prefix may look like ours, but no name has a colon in it.
local function is_name(name)
    return not string.find(name, ':', 1, true)
end
