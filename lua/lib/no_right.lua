-- Returns the error for a user without a right to a command, in the words of the servers themselves.
local function no_right(command)
    command = string.lower(command)
    return "NOPERM this user has no permissions to run the '" .. command ..
        "' command on the keys and channels of this prefix; grant +" .. command
end

-- Returns what a server said of a key, with the key if it is another program's.
local function said_of(said, key)
    return string.find(said, '^WRONGTYPE') and said .. ': ' .. key or said
end

-- Returns what a server said of a command that it refused. Redis 7.0 does not tell which one it was.
local function refusal_of(command, said, key)
    if string.find(said, "can't run this command", 1, true) then
        return no_right(command)
    end
    return key and said_of(said, key) or said
end
