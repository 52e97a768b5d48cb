#!lua
-- Gives a queue the entries that were taken out of it on another server: to the tickets that wait longest, else in front
-- of all that was sent here. The same batch is put only once.
-- reply: {"put", entries}   how many had not expired
-- reply: {"again"}   nothing was done: the batch was put before
local queue  = KEYS[1] -- [list]    <prefix>q:<queue>
local marker = KEYS[2] -- [string]  <prefix>p:<batch>
local prefix = ARGV[1] -- [text]    of every key
local entries, first_entry = ARGV, 2 -- [bytes...] of each entry the ms that it has left, and the entry
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/limits"
-- @include "lib/give_back"

local too_large = refuse_too_large(2, #entries)
if too_large then
    return too_large
end

local longest = 0
for slot = first_entry, #entries, 2 do
    longest = math.max(longest, tonumber(entries[slot]))
end
-- It outlasts all the entries: should the batch come again later, none is left to be put.
if longest > 0 and not redis.call('SET', marker, '', 'NX', 'PX', longest + MEMORY) then
    return {'again'}
end

local _, now = clock()
local name = string.sub(queue, #prefix + 3)
local put = 0
for slot = first_entry, #entries, 2 do
    local left, entry = tonumber(entries[slot]), entries[slot + 1]
    if left > 0 then
        -- This server's clock is another.
        if #entry >= 18 then
            entry = string.sub(entry, 1, 10) .. entry_time(now + left) .. string.sub(entry, 19)
        end
        give_back(prefix, name, entry, now)
        put = put + 1
    end
end
return {'put', put}
