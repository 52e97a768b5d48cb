-- Returns the server's time in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
