#!lua flags=allow-oom
-- Takes the first entries out of a queue, for another server: they are kept aside until that server has them. As long as
-- they are, it returns the same batch again.
-- reply: {batch, target, left, entry, left, entry, ...}   the batch's id and where it goes, which are those of the call
--   unless an earlier one was not finished; then entries, each with the ms that it has left
-- reply: {}   the queue is empty
local queue  = KEYS[1] -- [list]  <prefix>q:<queue>
local aside  = KEYS[2] -- [list]  <prefix>o:<queue>: "<batch> <target>", then the entries
local prefix = ARGV[1] -- [text]  of every key
local batch  = ARGV[2] -- [text]  an id for a new batch, never used before
local target = ARGV[3] -- [text]  where a new batch goes, without spaces
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/take"

local MOST_ENTRIES = 200
local MOST_BYTES = 1048576

local _, now = clock()
local entries = redis.call('LRANGE', aside, 0, -1)
if #entries == 0 then
    local name = string.sub(queue, #prefix + 3)
    local bytes, latest = 0, now
    entries[1] = batch .. ' ' .. target
    while #entries <= MOST_ENTRIES and bytes < MOST_BYTES do
        local from, entry = take(prefix, {name}, now)
        if from == '' then
            return redis.error_reply(entry)
        elseif not entry then
            break
        end
        entries[#entries + 1] = entry
        bytes = bytes + #entry
        latest = math.max(latest, entry_deadline(entry))
    end
    if #entries == 1 then
        return {}
    end
    redis.call('RPUSH', aside, unpack(entries))
    redis.call('PEXPIRE', aside, latest - now)
end

local reply = {string.match(entries[1], '^(%S+) (%S+)$')}
for i = 2, #entries do
    reply[#reply + 1] = entry_deadline(entries[i]) - now
    reply[#reply + 1] = entries[i]
end
return reply
