#!lua flags=allow-oom
-- Takes the first entries out of a queue, for another server. The batch is kept aside until that server has it, and as
-- long as it is there, each call returns it again.
-- reply: {batch, target, left, entry, left, entry, ...}   the batch's id and where it goes, which are those of the call
--   unless an earlier one was not finished; then entries, each with the ms that it has left;
--   none if so many had expired that others may stand behind them
-- reply: {}   the queue is empty
local queue_key = KEYS[1] -- [list]   <prefix>q:<queue>
local aside_key = KEYS[2] -- [list]   <prefix>o:<queue>: "<batch> <target>", then the entries
local prefix    = ARGV[1] -- [prefix] of every key
local batch     = ARGV[2] -- [name]   an id for a new batch, never used before
local target    = ARGV[3] -- [token]  where a new batch goes, without spaces
-- @include "lib/clock"
-- @include "lib/entry"
-- @include "lib/key"
-- @include "lib/take"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

local MAX_ENTRIES = 200
local MAX_BYTES = 1048576

local _, now = clock()
local entries = redis.call('LRANGE', aside_key, 0, -1)
if #entries == 0 then
    local queue = name_of(queue_key, prefix)
    local bytes, latest = 0, now
    local is_cut_off = false
    entries[1] = batch .. ' ' .. target
    while #entries <= MAX_ENTRIES and bytes < MAX_BYTES do
        local from, entry = take(prefix, {queue}, now)
        if from == '' then
            return redis.error_reply(entry)
        elseif from == false then
            is_cut_off = true
            break
        elseif not entry then
            break
        end
        entries[#entries + 1] = entry
        bytes = bytes + #entry
        latest = math.max(latest, entry_deadline(entry))
    end
    if #entries == 1 then
        return is_cut_off and {batch, target} or {}
    end
    redis.call('RPUSH', aside_key, unpack(entries))
    redis.call('PEXPIRE', aside_key, latest - now)
end

local reply = {string.match(entries[1], '^(%S+) (%S+)$')}
for i = 2, #entries do
    reply[#reply + 1] = entry_deadline(entries[i]) - now
    reply[#reply + 1] = entries[i]
end
return reply
