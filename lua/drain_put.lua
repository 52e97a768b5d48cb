#!lua
-- Gives a queue the entries that were taken out of it on another server: to the tickets that wait longest, else in front
-- of all that was sent here. The same batch is put only once.
-- reply: {"put", entries}   how many had not expired
-- reply: {"again"}   nothing was done: the batch was put before
local queue_key  = KEYS[1]           -- [list]            <prefix>q:<queue>
local marker_key = KEYS[2]           -- [string]          <prefix>p:<batch>
local prefix     = ARGV[1]           -- [prefix]          of every key
local entries, first_entry = ARGV, 2 -- [0..400 bytes...] of each entry the ms that it has left, and the entry
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/key"
-- @include "lib/give_back"
-- @include "lib/refuse"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

-- What is no entry has a deadline in the year 2100.
local MAX_LEFT = FAR_FUTURE

if (#entries - first_entry) % 2 == 0 then
    return refuse('drain_put', 'ARGV', #entries, 'the number of arguments: the last of the entries is not there')
end
for slot = first_entry, #entries, 2 do
    local left = entries[slot]
    if #left > 15 or not string.find(left, '^%-?%d+$') or tonumber(left) > MAX_LEFT then
        return refuse('drain_put', 'ARGV[' .. slot .. '] left', left, 'a whole number of ms, at most ' .. string.format('%.0f', MAX_LEFT))
    end
end

-- Returns an entry with its deadline by this server's clock; one without a whole header stays as it is.
local function with_deadline(entry, deadline)
    if #entry < HEADER_BYTES then
        return entry
    end
    return entry_id(entry) .. entry_time(deadline) .. string.sub(entry, HEADER_BYTES + 1)
end

local longest = 0
for slot = first_entry, #entries, 2 do
    longest = math.max(longest, tonumber(entries[slot]))
end
-- The marker outlasts all the entries: if the batch comes again after the marker has expired, none is left to be put.
if longest > 0 and not redis.call('SET', marker_key, '', 'NX', 'PX', longest + MEMORY) then
    return {'again'}
end

local _, now = clock()
local queue = name_of(queue_key, prefix)
local put = 0
for slot = first_entry, #entries, 2 do
    local left, entry = tonumber(entries[slot]), entries[slot + 1]
    if left > 0 then
        entry = with_deadline(entry, now + left)
        give_back(prefix, queue, entry, now)
        put = put + 1
    end
end
return {'put', put}
